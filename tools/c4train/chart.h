/* A line chart as SVG: one curve, its smoothed course, and marked points. */
#ifndef C4_TOOLS_C4TRAIN_CHART_H
#define C4_TOOLS_C4TRAIN_CHART_H

#include <stddef.h>
#include <stdio.h>

typedef struct c4_chart_point {
    double x;
    double y;
} c4_chart_point;

typedef struct c4_chart {
    const char *title;
    const char *subtitle;
    const char *x_label;
    const char *y_label;
    const char *curve_label;
    const double *values; /* at x = 1, 2, ...; the curve, drawn thin, and over it a moving mean */
    size_t count;
    const char *points_label;
    const c4_chart_point *points; /* drawn as dots; may be none */
    size_t npoints;
} c4_chart;

/* Text is escaped; values that are not finite are left out. Needs no font beyond sans-serif. */
void c4_chart_write(const c4_chart *chart, FILE *out);

#endif
