import type { VdiInfo } from '../control/api.js';
import { formatSize } from './sizes.js';

/** The list that `qemu-img snapshot -l` and `info` print, column by column as QEMU does; '' without snapshots. */
export function snapshotTable(snapshots: readonly VdiInfo[]): string {
  if (snapshots.length === 0) return '';
  const heading = row('ID'.padEnd(10), 'TAG'.padEnd(18), 'VM SIZE', 'DATE', 'VM CLOCK', 'ICOUNT');
  const rows = snapshots.map((vdi) =>
    row(
      `${String(vdi.snapId).padEnd(9)} `,
      `${vdi.tag.padEnd(17)} `,
      formatSize(vdi.vmState?.bytes ?? 0),
      formatSecond(vdi.snapshotMs),
      formatClock(vdi.vmState?.clockNs ?? '0'),
      '',
    ),
  );
  return `Snapshot list:\n${[heading, ...rows].join('\n')}\n`;
}

function row(id: string, tag: string, size: string, date: string, clock: string, icount: string): string {
  return id + tag + size.padStart(7) + date.padStart(20) + clock.padStart(13) + icount.padStart(11);
}

/** The guest's clock as `00:01:07.250`. */
function formatClock(clockNs: string): string {
  const ms = Number(BigInt(clockNs) / 1_000_000n);
  const padded = (value: number, width: number): string => String(Math.floor(value)).padStart(width, '0');
  const seconds = ms / 1000;
  const clock = `${padded(seconds / 3600, 2)}:${padded((seconds / 60) % 60, 2)}:${padded(seconds % 60, 2)}`;
  return `${clock}.${padded(ms % 1000, 3)}`;
}

/** Local time as `2026-11-22 23:55:43`. */
function formatSecond(ms: number): string {
  const at = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, '0');
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}
