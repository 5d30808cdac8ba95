/* Layout in pixels of a 880 x 500 canvas. The mean is taken over a window centred on each step, a twentieth of the run
 * wide, so that it does not lag behind; long curves are thinned to what the width can show. */
#include "tools/c4train/chart.h"

#include <math.h>
#include <stdbool.h>

enum { WIDTH = 880, HEIGHT = 500, LEFT = 76, RIGHT = 34, TOP = 84, BOTTOM = 62, MOST_POINTS = 2000 };

#define BLUE   "#2563eb"
#define ORANGE "#ea580c"
#define INK    "#1f2937"
#define GREY   "#6b7280"

typedef struct frame {
    FILE *out;
    double x_low, x_high, y_low, y_high; /* data at the plot's edges */
    double x_step, y_step;
} frame;

static double x_at(const frame *f, double x)
{
    return LEFT + (x - f->x_low) / (f->x_high - f->x_low) * (WIDTH - LEFT - RIGHT);
}

static double y_at(const frame *f, double y)
{
    return HEIGHT - BOTTOM - (y - f->y_low) / (f->y_high - f->y_low) * (HEIGHT - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, so that about `ticks` of them make `span`. */
static double nice_step(double span, int ticks)
{
    double raw = span / ticks, power = pow(10, floor(log10(raw))), digit = raw / power;
    return power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
}

static void include_value(double value, double *low, double *high)
{
    if (!isfinite(value))
        return;
    *low = fmin(*low, value);
    *high = fmax(*high, value);
}

static frame frame_of(const c4_chart *chart, FILE *out)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < chart->count; i++)
        include_value(chart->values[i], &low, &high);
    for (size_t i = 0; i < chart->npoints; i++)
        include_value(chart->points[i].y, &low, &high);
    if (!(low <= high))
        low = high = 0;
    if (high - low < 1e-9 * fmax(1, fabs(high))) { /* nothing, or a flat line: some room around it */
        double room = fmax(0.5, fabs(high) * 0.1);
        low -= room;
        high += room;
    }
    frame f = {.out = out, .x_low = 0, .x_high = fmax(1, (double)chart->count)};
    f.x_step = fmax(1, nice_step(f.x_high - f.x_low, 8));
    f.y_step = nice_step(high - low, 6);
    f.y_low = floor(low / f.y_step) * f.y_step;
    f.y_high = ceil(high / f.y_step) * f.y_step;
    return f;
}

static void put_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        default:
            if ((unsigned char)*text >= ' ')
                fputc(*text, out);
        }
    }
}

static void put_text(FILE *out, double x, double y, const char *attributes, const char *text)
{
    fprintf(out, "<text x='%.1f' y='%.1f' %s>", x, y, attributes);
    put_escaped(out, text);
    fputs("</text>\n", out);
}

static void put_grid(const frame *f)
{
    char label[32];
    int decimals = f->y_step >= 1 ? 0 : (int)ceil(-log10(f->y_step) - 1e-9);
    long rows = lround((f->y_high - f->y_low) / f->y_step);
    for (long i = 0; i <= rows; i++) {
        double value = f->y_low + (double)i * f->y_step, y = y_at(f, value);
        fprintf(f->out, "<path d='M%d %.1fH%d' stroke='%s'/>\n", LEFT, y, WIDTH - RIGHT, i ? "#e5e7eb" : "#9ca3af");
        snprintf(label, sizeof label, "%.*f", decimals, value == 0 ? 0 : value);
        put_text(f->out, LEFT - 10, y + 4.5, "text-anchor='end'", label);
    }
    for (double x = 0; x <= f->x_high * (1 + 1e-9); x += f->x_step) {
        fprintf(f->out, "<path d='M%.1f %dv6' stroke='#9ca3af'/>\n", x_at(f, x), HEIGHT - BOTTOM);
        snprintf(label, sizeof label, "%.0f", x);
        put_text(f->out, x_at(f, x), HEIGHT - BOTTOM + 22, "text-anchor='middle'", label);
    }
}

/* Sum and number of the finite values in a window that only moves up. */
typedef struct window {
    const double *values;
    size_t low, high; /* values[low .. high) are in */
    double sum;
    size_t finite;
} window;

static void window_take(window *w, size_t index, int sign)
{
    if (!isfinite(w->values[index]))
        return;
    w->sum += sign * w->values[index];
    w->finite += (size_t)sign;
}

static void window_move(window *w, size_t low, size_t high)
{
    while (w->high < high)
        window_take(w, w->high++, 1);
    while (w->low < low)
        window_take(w, w->low++, -1);
}

/* One polyline of means over 2 * reach + 1 values, fewer near the ends, so that it meets the curve there. A value
 * that is not finite breaks it. */
static void put_curve(const frame *f, const c4_chart *chart, size_t reach, const char *style)
{
    window w = {.values = chart->values};
    size_t stride = chart->count / MOST_POINTS + 1;
    bool open = false;
    fprintf(f->out, "<path fill='none' stroke-linejoin='round' stroke-linecap='round' %s d='", style);
    for (size_t i = 0; i < chart->count; i++) {
        bool drawn = i % stride == 0 || i + 1 == chart->count;
        size_t left = chart->count - 1 - i, nearer = i < left ? i : left, side = nearer < reach ? nearer : reach;
        window_move(&w, i - side, i + side + 1);
        if (drawn && isfinite(chart->values[i]))
            fprintf(f->out, "%c%.1f %.1f", open ? 'L' : 'M', x_at(f, (double)i + 1), y_at(f, w.sum / (double)w.finite));
        if (drawn)
            open = isfinite(chart->values[i]);
    }
    fputs("'/>\n", f->out);
}

static void put_points(const frame *f, const c4_chart *chart)
{
    for (size_t i = 0; i < chart->npoints; i++)
        if (isfinite(chart->points[i].y))
            fprintf(f->out,
                    "<circle cx='%.1f' cy='%.1f' r='4.5' fill='" ORANGE "' stroke='#fff' stroke-width='1.5'/>\n",
                    x_at(f, chart->points[i].x), y_at(f, chart->points[i].y));
}

static void put_legend(FILE *out, const c4_chart *chart)
{
    double x = WIDTH - RIGHT - 190, y = TOP + 18;
    int rows = chart->npoints ? 3 : 2;
    fprintf(out,
            "<rect x='%.1f' y='%.1f' width='190' height='%d' rx='6' fill='#fff' fill-opacity='0.9' "
            "stroke='#e5e7eb'/>\n",
            x, y - 18, rows * 21 + 12);
    fprintf(out, "<path d='M%.1f %.1fh26' stroke='" BLUE "' stroke-opacity='0.35' stroke-width='1.5'/>\n", x + 12, y);
    put_text(out, x + 48, y + 4.5, "", chart->curve_label);
    fprintf(out, "<path d='M%.1f %.1fh26' stroke='" BLUE "' stroke-width='2.5'/>\n", x + 12, y + 21);
    put_text(out, x + 48, y + 25.5, "", "moving mean");
    if (!chart->npoints)
        return;
    fprintf(out, "<circle cx='%.1f' cy='%.1f' r='4.5' fill='" ORANGE "'/>\n", x + 25, y + 42);
    put_text(out, x + 48, y + 46.5, "", chart->points_label);
}

static void put_labels(FILE *out, const c4_chart *chart)
{
    char place[80];
    put_text(out, LEFT, 38, "font-size='20' font-weight='600' fill='" INK "'", chart->title);
    put_text(out, LEFT, 62, "font-size='13.5'", chart->subtitle);
    put_text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 16, "text-anchor='middle' fill='" INK "'", chart->x_label);
    snprintf(place, sizeof place, "text-anchor='middle' fill='" INK "' transform='rotate(-90 24 %d)'",
             (TOP + HEIGHT - BOTTOM) / 2);
    put_text(out, 24, (TOP + HEIGHT - BOTTOM) / 2.0, place, chart->y_label);
}

void c4_chart_write(const c4_chart *chart, FILE *out)
{
    frame f = frame_of(chart, out);
    fprintf(out,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d' role='img' "
            "font-family='Helvetica, Arial, sans-serif' font-size='13' fill='" GREY "'>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    fputs("<rect width='100%' height='100%' fill='#fff'/>\n", out);
    put_labels(out, chart);
    put_grid(&f);
    put_curve(&f, chart, 0, "stroke='" BLUE "' stroke-opacity='0.35' stroke-width='1.5'");
    put_curve(&f, chart, chart->count / 40 + 1, "stroke='" BLUE "' stroke-width='2.5'");
    put_points(&f, chart);
    put_legend(out, chart);
    fputs("</svg>\n", out);
}
