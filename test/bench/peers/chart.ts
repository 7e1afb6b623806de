/** Ratios as horizontal bars on a logarithmic scale, as SVG: twice as good and half as good are equally long. */

export interface Bar {
  readonly title: string;
  /** Above 1 is better. */
  readonly ratio: number;
}

export interface ChartRow {
  readonly label: string;
  readonly bars: readonly Bar[];
}

const WIDTH = 860;
const LABEL_WIDTH = 330;
const VALUE_WIDTH = 60;
const BAR_HEIGHT = 14;
const BAR_GAP = 3;
const ROW_GAP = 12;
const TOP = 62;
const BOTTOM = 34;
/** Of middle lightness: they stand out from white and from black. */
const COLOURS = ['#3b82c4', '#d9822b', '#5a9e4b', '#a66bbe', '#c25450', '#8a8a8a'];
const TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

const STYLE =
  'text{font:12px sans-serif;fill:#24292f}.t{font-size:15px}.g{stroke:#8a8a8a;stroke-opacity:.35}' +
  '.one{stroke:#24292f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.one{stroke:#e6edf3}}';

/** Rows without bars are left out. */
export function chart(title: string, rows: readonly ChartRow[]): string {
  const shown = rows.filter((row) => row.bars.length > 0);
  const colours = colourOf(shown);
  const scale = scaleOf(shown.flatMap((row) => row.bars.map((bar) => bar.ratio)));
  const body: string[] = [];
  let y = TOP;
  for (const row of shown) {
    const height = row.bars.length * (BAR_HEIGHT + BAR_GAP);
    body.push(text(LABEL_WIDTH - 10, y + height / 2 + 3, row.label, 'end'));
    for (const bar of row.bars) {
      body.push(barAt(scale, y, bar, colours.get(bar.title)!));
      y += BAR_HEIGHT + BAR_GAP;
    }
    y += ROW_GAP;
  }
  const height = y + BOTTOM;
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img">`;
  const parts = [
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}</style>`,
    text(10, 22, title, 'start', 't'),
  ];
  return `${[head, ...parts, ...legend(colours), ...grid(scale, y), ...body, '</svg>'].join('\n')}\n`;
}

interface Scale {
  readonly ticks: readonly number[];
  readonly x: (ratio: number) => number;
}

/** From the tick below the least to the tick above the most; 1 is always in sight. */
function scaleOf(ratios: readonly number[]): Scale {
  const least = Math.min(1, ...ratios);
  const most = Math.max(1, ...ratios);
  const low = TICKS.findLast((tick) => tick <= least) ?? TICKS[0]!;
  const high = TICKS.find((tick) => tick >= most) ?? TICKS.at(-1)!;
  const [from, to] = low === high ? [0.5, 2] : [low, high];
  const span = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
  const share = (ratio: number) => Math.log(ratio / from) / Math.log(to / from);
  return {
    ticks: TICKS.filter((tick) => tick >= from && tick <= to),
    x: (ratio) => LABEL_WIDTH + Math.min(1, Math.max(0, share(ratio))) * span,
  };
}

function barAt(scale: Scale, y: number, { ratio, title }: Bar, colour: string): string {
  const [left, right] = [scale.x(Math.min(1, ratio)), scale.x(Math.max(1, ratio))];
  const size = `x="${fixed(left)}" y="${y}" width="${fixed(Math.max(1, right - left))}" height="${BAR_HEIGHT}"`;
  const rect = `<rect ${size} fill="${colour}"><title>${escaped(`${title}: ${ratioText(ratio)}`)}</title></rect>`;
  return rect + text(right + 5, y + BAR_HEIGHT - 3, ratioText(ratio));
}

function grid(scale: Scale, bottom: number): string[] {
  return scale.ticks.flatMap((tick) => {
    const x = fixed(scale.x(tick));
    const line = `<line x1="${x}" x2="${x}" y1="${TOP - 8}" y2="${bottom}" class="${tick === 1 ? 'one' : 'g'}"/>`;
    return [line, text(scale.x(tick), bottom + 16, `${tick}`, 'middle')];
  });
}

function legend(colours: ReadonlyMap<string, string>): string[] {
  let x = 10;
  return [...colours].flatMap(([title, colour]) => {
    const at = x;
    x += 34 + title.length * 7;
    return [`<rect x="${at}" y="32" width="12" height="12" fill="${colour}"/>`, text(at + 17, 42, title)];
  });
}

function colourOf(rows: readonly ChartRow[]): Map<string, string> {
  const titles = new Set(rows.flatMap((row) => row.bars.map((bar) => bar.title)));
  return new Map([...titles].map((title, index) => [title, COLOURS[index % COLOURS.length]!]));
}

function text(x: number, y: number, words: string, anchor = 'start', name = ''): string {
  const kind = name === '' ? '' : ` class="${name}"`;
  return `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}"${kind}>${escaped(words)}</text>`;
}

export function ratioText(ratio: number): string {
  return ratio >= 100 ? ratio.toFixed(0) : ratio >= 10 ? ratio.toFixed(1) : ratio.toFixed(2);
}

function fixed(value: number): string {
  return `${Math.round(value * 10) / 10}`;
}

function escaped(words: string): string {
  return words
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
