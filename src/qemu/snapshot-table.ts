import type { VdiInfo } from '../control/api.js';
import { formatSize } from './sizes.js';

/**
 * The list that `qemu-img snapshot -l` and `info` print, column by column as QEMU does; '' when there are no snapshots.
 * A volume's snapshots have no machine state here: that of checkpoints is none of qemu-img's business.
 */
export function snapshotTable(snapshots: readonly VdiInfo[]): string {
  if (snapshots.length === 0) return '';
  const heading = row('ID'.padEnd(10), 'TAG'.padEnd(18), 'VM SIZE', 'DATE', 'VM CLOCK', 'ICOUNT');
  const rows = snapshots.map((vdi) =>
    row(
      `${String(vdi.snapId).padEnd(9)} `,
      `${vdi.tag.padEnd(17)} `,
      formatSize(0),
      formatSecond(vdi.snapshotMs),
      '00:00:00.000',
      '',
    ),
  );
  return `Snapshot list:\n${[heading, ...rows].join('\n')}\n`;
}

function row(id: string, tag: string, size: string, date: string, clock: string, icount: string): string {
  return id + tag + size.padStart(7) + date.padStart(20) + clock.padStart(13) + icount.padStart(11);
}

/** Local time as `2026-11-22 23:55:43`. */
function formatSecond(ms: number): string {
  const at = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, '0');
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}
