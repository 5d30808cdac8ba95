"""The picture of `make bench-start`: time to the first result and memory of a rank, against the number of ranks."""

import math
from html import escape

COLOURS = {"C4": "#2563eb", "Open MPI": "#d97706", "MPICH": "#059669"}
WIDTH, HEIGHT, TOP, BOTTOM = 880, 440, 104, 372
INK, GREY, GRID = "#1f2937", "#9ca3af", "#e5e7eb"
TICKS = [1, 2, 5]


class Panel:
    """One diagram: both axes logarithmic, ranks across."""

    def __init__(self, left, right, ranks, values, room=1.3):
        self.left, self.right = left, right
        self.ranks = ranks
        self.low, self.high = min(values) / 1.3, max(values) * room

    def x(self, nranks):
        first, last = math.log(self.ranks[0]), math.log(self.ranks[-1])
        return self.left + (math.log(nranks) - first) / ((last - first) or 1) * (self.right - self.left)

    def y(self, value):
        value = min(max(value, self.low), self.high)
        return BOTTOM - (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low)) * (BOTTOM - TOP)


def text(x, y, words, anchor="middle", colour="#6b7280", size=13):
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}' font-size='{size}'>{escape(words)}</text>"


def axis_values(low, high):
    """1, 2 and 5 times powers of ten; only the powers when that would be too many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [tick * 10.0 ** decade for decade in decades for tick in TICKS if low <= tick * 10.0 ** decade <= high]
    return values if len(values) <= 10 else [v for v in values if f"{v:e}".startswith("1.0")]


def frame(panel, title, unit):
    parts = [text(panel.left, TOP - 18, title, "start", INK, 14)]
    for value in axis_values(panel.low, panel.high):
        y = panel.y(value)
        parts.append(f"<path d='M{panel.left} {y:.1f}H{panel.right}' stroke='{GRID}'/>")
        parts.append(text(panel.left - 8, y + 4.5, f"{value:g}{unit}", "end"))
    parts.append(f"<path d='M{panel.left} {BOTTOM}H{panel.right}' stroke='{GREY}'/>")
    for nranks in panel.ranks:
        parts.append(text(panel.x(nranks), BOTTOM + 20, str(nranks)))
    parts.append(text((panel.left + panel.right) / 2, BOTTOM + 42, "ranks", colour=INK))
    return parts


def curve(panel, colour, points, spread=(), dash=""):
    parts = [f"<path d='M{panel.x(n):.1f} {panel.y(low):.1f}V{panel.y(high):.1f}' stroke='{colour}' stroke-opacity='0.45' "
             "stroke-width='4'/>" for n, low, high in spread]
    path = "L".join(f"{panel.x(n):.1f} {panel.y(value):.1f}" for n, value in points)
    parts.append(f"<path d='M{path}' fill='none' stroke='{colour}' stroke-width='2'{dash}/>")
    parts += [f"<circle cx='{panel.x(n):.1f}' cy='{panel.y(value):.1f}' r='3' fill='{colour}'/>" for n, value in points]
    return parts


def failures(panel, cells):
    """Where a library did not start: a cross at the top of its column."""
    parts = []
    for i, cell in enumerate(cell for cell in cells if not cell["trials"]):
        x, y, colour = panel.x(cell["nranks"]), TOP + 6 + 16 * i, COLOURS[cell["library"]]
        parts.append(f"<path d='M{x - 4:.1f} {y - 4}l8 8m0 -8l-8 8' stroke='{colour}' stroke-width='2'/>")
        parts.append(text(x - 8, y + 4, f"{cell['library']}: {cell['failed'][0][:28]}", "end", colour, 11))
    return parts


def own_mib(cell):
    return cell["own_kib_median"] / 1024


def all_mib(cell):
    return own_mib(cell) + cell["shared_kib_median"] / 1024


def picture(cells, machine, load):
    good = [cell for cell in cells if cell["trials"]]
    ranks = sorted({cell["nranks"] for cell in cells})
    times = [cell[name] for cell in good for name in ("first_result_low_s", "first_result_high_s")]
    time_panel = Panel(64, 420, ranks, times, 1.3 if len(good) == len(cells) else 4)  # crosses stand above the curves
    memory_panel = Panel(510, 862, ranks, [size(cell) for cell in good for size in (own_mib, all_mib)])
    trials = max(cell["trials"] for cell in good)
    busy = f"; not idle (load {load:.0f})" if load >= 1 else ""
    parts = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' viewBox='0 0 {WIDTH} {HEIGHT}' "
             "role='img' font-family='Helvetica, Arial, sans-serif' font-size='13'>",
             "<rect width='100%' height='100%' fill='#fff'/>",
             text(18, 32, "Starting a job on one host", "start", INK, 20),
             text(18, 54, f"{machine}; shared memory; medians of up to {trials} runs, bars: lowest to highest{busy}",
                  "start", size=11)]
    parts += frame(time_panel, "launch to the first all-reduce's result on all ranks", " s")
    parts += frame(memory_panel, "memory gained per rank (dashed: with shared)", " MiB")
    for library in [name for name in COLOURS if any(cell["library"] == name for cell in good)]:
        own = sorted((cell for cell in good if cell["library"] == library), key=lambda cell: cell["nranks"])
        colour = COLOURS[library]
        parts += curve(time_panel, colour, [(cell["nranks"], cell["first_result_s"]) for cell in own],
                       [(cell["nranks"], cell["first_result_low_s"], cell["first_result_high_s"]) for cell in own])
        parts += curve(memory_panel, colour, [(cell["nranks"], own_mib(cell)) for cell in own])
        parts += curve(memory_panel, colour, [(cell["nranks"], all_mib(cell)) for cell in own],
                       dash=" stroke-dasharray='5 4' stroke-opacity='0.6'")
    parts += failures(time_panel, cells)
    for i, library in enumerate(COLOURS):
        x = 18 + 110 * i
        parts.append(f"<path d='M{x} {HEIGHT - 10}h22' stroke='{COLOURS[library]}' stroke-width='3'/>")
        parts.append(text(x + 28, HEIGHT - 5, library, "start", INK))
    return "\n".join(parts) + "\n</svg>\n"
