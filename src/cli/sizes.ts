/**
 * Sizes as people write and read them. Everything is 1024-based, as in the original: 4G, 4g, 4GiB and 4.0G are the
 * same; its tables say "MB" and "GB" for 2^20 and 2^30 bytes.
 */
const suffixes = 'BKMGTP';
const units = ['MB', 'GB', 'TB', 'PB', 'EB', 'ZB', 'YB'];

/** Bytes, or undefined when the text is no size. Fractions of a byte are dropped. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d*)?|\.\d+)([bkmgtp](?:ib)?)?$/i.exec(text);
  if (match === null) return undefined;
  const suffix = (match[2] ?? 'b').toUpperCase();
  // 'BIB' would be a byte of bytes.
  if (suffix === 'BIB') return undefined;
  const bytes = Math.floor(Number(match[1]) * 1024 ** suffixes.indexOf(suffix[0]!));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** "0.0 MB", "9.5 GB", "128 MB": one decimal below ten, none from ten up. */
export function formatSize(bytes: number): string {
  let value = bytes / 1024 ** 2;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value < 10 ? (roundHalfEven(value * 10) / 10).toFixed(1) : roundHalfEven(value)} ${units[unit]}`;
}

/** C's printf rounds ties to even; sizes meet ties often (12.5 MB), so this is visible in tables. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Local time as `2026-11-22 23:55`. */
export function formatMinute(ms: number): string {
  const at = new Date(ms);
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** Local time as `2026-11-22 23:55:43`. */
export function formatSecond(ms: number): string {
  return `${formatMinute(ms)}:${two(new Date(ms).getSeconds())}`;
}

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** C's ctime in the C locale: `Sun Nov 22 23:55:43 2026`. */
export function formatCtime(ms: number): string {
  const at = new Date(ms);
  const day = String(at.getDate()).padStart(2);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return `${days[at.getDay()]} ${months[at.getMonth()]} ${day} ${time} ${at.getFullYear()}`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
