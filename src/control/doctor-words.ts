/** Words for findings: names in a row, sizes, times. Pure. */

const NAMES_MAX = 4;

/** "a", "a and b", "a, b, c and 7 more". */
export function listed(names: readonly string[], count = names.length): string {
  const shown = count > NAMES_MAX ? names.slice(0, NAMES_MAX - 1) : names;
  const more = count - shown.length;
  const parts = more > 0 ? [...shown, `${more} more`] : [...shown];
  if (parts.length <= 1) return parts.join('');
  return `${parts.slice(0, -1).join(', ')} and ${parts[parts.length - 1]}`;
}

export function size(bytes: number): string {
  const units = ['MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes / 2 ** 20;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ${units[unit]}`;
}

export function time(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** "1 copy", "3 copies". */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

export function isAre(count: number): string {
  return count === 1 ? 'is' : 'are';
}
