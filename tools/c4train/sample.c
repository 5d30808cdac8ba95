#include "tools/c4train/sample.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* Index drawn with weights prob[i]^(1/temperature). */
static uint8_t draw(const c4_real *prob, double temperature, c4_rng *rng)
{
    double weights[C4_MODEL_VOCAB], total = 0;
    for (int i = 0; i < C4_MODEL_VOCAB; i++)
        total += weights[i] = pow((double)prob[i], 1 / temperature);
    double left = total * (double)(c4_rng_next(rng) >> 11) * 0x1p-53;
    for (int i = 0; i < C4_MODEL_VOCAB; i++)
        if ((left -= weights[i]) < 0)
            return (uint8_t)i;
    return ' ';
}

static void put_byte(uint8_t byte, FILE *out)
{
    bool plain = byte == '\n' || (byte >= ' ' && byte < 127);
    fputc(plain ? byte : '?', out);
}

c4_status c4_sample_print(c4_model *model, const char *prompt, size_t count, double temperature, uint64_t seed,
                          FILE *out)
{
    size_t seq = (size_t)model->config.seq, length = strlen(prompt);
    uint8_t *text = calloc(1, length + count + seq + 1);
    if (!text)
        return C4_ERR_MEMORY;
    if (length > 0)
        memcpy(text, prompt, length + 1);
    else
        text[length++] = '\n';
    c4_rng rng = {.state = seed};
    fwrite(prompt, 1, strlen(prompt), out);
    for (size_t made = 0; made < count; made++, length++) {
        size_t first = length > seq ? length - seq : 0;
        c4_model_forward(model, text + first, text + first, 1); /* zeros after the end are not seen by what is before */
        text[length] = draw(model->prob + (length - first - 1) * C4_MODEL_VOCAB, temperature, &rng);
        put_byte(text[length], out);
    }
    fputc('\n', out);
    free(text);
    return C4_OK;
}
