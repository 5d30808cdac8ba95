/* The language model: pre-norm transformer over bytes with RMSNorm, rotary positions, SwiGLU and an untied head.
 *
 * One object holds parameters, activations of up to `max_sequences` sequences and scratch. No BLAS threads, no I/O. */
#ifndef C4_TOOLS_C4TRAIN_MODEL_H
#define C4_TOOLS_C4TRAIN_MODEL_H

#include <c4/c4.h>

#include "tools/c4train/layers.h"
#include "tools/c4train/layout.h"

/* Called between the pieces of the backward pass: gradients at `ready` and above are final and will not be touched
 * again; the same value may come several times, so that communication can progress. Ends with ready == 0. */
typedef struct c4_ready_hook {
    void (*call)(void *context, size_t ready);
    void *context;
} c4_ready_hook;

/* Activations of one layer, kept for the backward pass. R = sequences * seq rows. */
typedef struct c4_layer_acts {
    c4_real *x;        /* [R x dim] input of the layer */
    c4_real *inverse1; /* [R] */
    c4_real *normed1;  /* [R x dim] */
    c4_real *qkv;      /* [R x 3 dim] after rotation */
    c4_real *prob;     /* [sequences * heads * seq x seq] */
    c4_real *mixed;    /* [R x dim] attention output before the projection */
    c4_real *middle;   /* [R x dim] residual stream after attention */
    c4_real *inverse2; /* [R] */
    c4_real *normed2;  /* [R x dim] */
    c4_real *gate_up;  /* [R x 2 hidden] */
    c4_real *sigmoid;  /* [R x hidden] */
    c4_real *h;        /* [R x hidden] */
} c4_layer_acts;

/* Scratch of the backward pass, shared by the layers. */
typedef struct c4_back_scratch {
    c4_real *residual; /* [R x dim] gradient of the residual stream */
    c4_real *normed;   /* [R x dim] */
    c4_real *mixed;    /* [R x dim] */
    c4_real *h;        /* [R x hidden] */
    c4_real *wide;     /* [R x max(3 dim, 2 hidden)] */
    c4_real *square;   /* [seq x seq] */
} c4_back_scratch;

typedef struct c4_model {
    c4_model_config config;
    size_t max_sequences;
    size_t params_count;
    c4_real *params;        /* [params_count]; owned */
    c4_real *rotary;        /* [seq x head_dim] */
    c4_layer_acts *acts;    /* [layers] */
    c4_real *last;          /* [R x dim] output of the last layer */
    c4_real *inverse_final; /* [R] */
    c4_real *normed_final;  /* [R x dim] */
    c4_real *prob;          /* [R x 256] probabilities of the next byte */
    c4_back_scratch back;
    void *arena; /* everything above but `acts` */
} c4_model;

/* Bytes that a model with these shapes will hold (parameters and activations). */
double c4_model_bytes(const c4_model_config *config, size_t max_sequences);
/* Allocates; parameters are not initialised (c4_layout_init). Caller destroys. C4_ERR_MEMORY. max_sequences >= 1. */
c4_status c4_model_create(const c4_model_config *config, size_t max_sequences, c4_model **model);
void c4_model_destroy(c4_model *model);

/* inputs and targets: [sequences * seq] bytes. Returns the sum over all tokens of -log p(target); 0 for none. */
double c4_model_forward(c4_model *model, const uint8_t *inputs, const uint8_t *targets, size_t sequences);
/* After c4_model_forward of the same arguments: writes grads[params_count] = gradient of scale * loss, zeros when
 * there are no sequences. Probabilities are consumed. */
void c4_model_backward(c4_model *model, const uint8_t *inputs, const uint8_t *targets, size_t sequences, c4_real scale,
                       c4_real *grads, c4_ready_hook hook);

/* block.c: one transformer layer. */
void c4_block_forward(c4_model *model, int layer, size_t sequences, c4_real *out);
/* On entry scratch.residual holds the gradient of the layer's output, on return that of its input. */
void c4_block_backward(c4_model *model, int layer, size_t sequences, c4_real *grads, c4_ready_hook hook);

#endif
