/** Discard of an area that is full, by QEMU's driver of each target; then the area is filled again. */
import { prefill, runClient } from '../clients.js';
import type { Target } from '../targets.js';
import { QemuIo } from './qemu-io.js';
import { durationCell, take } from './taken.js';
import type { Place, Work } from './work.js';

const MIB = 2 ** 20;
const BYTES_MAX = 2 ** 30;

/** Of the volume; qemu-io takes no request of 2 GiB. */
export function discardBytes(sizeBytes: number): number {
  return Math.min(BYTES_MAX, sizeBytes);
}

export function discardWork(sizeBytes: number): Work {
  const bytes = discardBytes(sizeBytes);
  const name = `discard of ${bytes / MIB} MiB, full, and a flush`;
  return {
    figures: [{ name, unit: 'ms', better: 'less', cpuUnit: 'ms' }],
    note:
      'Discard: one request of qemu-io, which has the volume open before; QEMU splits it as the driver wants. Block ' +
      'status must show a hole afterwards. The area is filled again, not measured.',
    missing: () => undefined,
    async measure(target: Target, place: Place) {
      const client = await QemuIo.open(target);
      try {
        const pids = [...target.pids, client.pid];
        const taken = await take(pids, () => client.run([`discard -q 0 ${bytes}`, 'flush']));
        await client.close();
        const left = await dataBytes(target, bytes);
        if (left > 0)
          throw new Error(`${left / MIB} of ${bytes / MIB} MiB still hold data after the discard`);
        return [durationCell(taken)];
      } finally {
        await client.close();
        await prefill(target, place.sizeBytes);
      }
    },
  };
}

/** What is no hole, of the first `bytes` of the volume, as QEMU's driver tells. */
async function dataBytes(target: Target, bytes: number): Promise<number> {
  const words = ['map', '-f', 'raw', '--output=json', target.uri ?? target.file!];
  return dataBytesIn(await runClient(target.qemuImg ?? 'qemu-img', words), bytes);
}

/** Out of what `qemu-img map --output=json` prints. */
export function dataBytesIn(json: string, bytes: number): number {
  const extents = JSON.parse(json) as { start: number; length: number; data: boolean }[];
  return extents
    .filter(({ data, start }) => data && start < bytes)
    .reduce((sum, { start, length }) => sum + Math.min(length, bytes - start), 0);
}
