/** `qemu-img convert` of a raw file into the volume and of the volume into a raw file, by each target's driver. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { qemuImgBench, runClient } from '../clients.js';
import type { Endpoint, Target } from '../targets.js';
import { sourceFile } from './source-file.js';
import { less, rateCell, type Taken, take } from './taken.js';
import type { Place, Work } from './work.js';

export const COPY_DEADLINE_MS = 1_200_000;
const rate = { unit: 'MB/s', better: 'more', cpuUnit: 'ms/MB' } as const;

export function convertWork(): Work {
  return {
    figures: [
      { name: 'qemu-img convert of a raw file into the volume', ...rate },
      { name: 'qemu-img convert of the volume into a raw file', ...rate },
    ],
    note:
      'qemu-img convert: a file of random bytes as large as the volume, which was full before; into the volume with ' +
      'a flush at the end, into a file without. Less a client that reads 4 KiB: its start, connection and end. The ' +
      'file that comes out is compared with the one that went in.',
    // Its client ends ten or eleven seconds after its start, whatever it does meanwhile.
    missing: ({ name }) =>
      name === 'gluster'
        ? 'its client ends by a clock of ten seconds, which hides how long it copied'
        : undefined,
    prepare: async (_, place) => void (await sourceFile(place)),
    async measure(target: Target, place: Place) {
      const source = await sourceFile(place);
      const copy = join(place.folder, 'out.raw');
      const program = target.qemuImg ?? 'qemu-img';
      const convert = (words: string[]) =>
        take(target.pids, () => runClient(program, words, {}, COPY_DEADLINE_MS));
      const visit = await visited(target);
      try {
        const into = less(await convert(intoWords(source, target)), visit);
        const out = less(await convert(outWords(target, copy)), visit);
        await mustBeEqual(source, copy);
        return [into, out].map((taken) => taken && rateCell(taken, place.sizeBytes));
      } finally {
        rmSync(copy, { force: true });
      }
    },
  };
}

/** `-t writeback`: without, qemu-img does not even flush at the end. */
export function intoWords(source: string, at: Endpoint): string[] {
  return ['convert', '-n', '-f', 'raw', '-O', 'raw', '-t', 'writeback', source, at.uri ?? at.file!];
}

export function outWords(at: Endpoint, copy: string): string[] {
  return ['convert', '-f', 'raw', '-O', 'raw', at.uri ?? at.file!, copy];
}

/** Rejects when the files differ. */
export async function mustBeEqual(source: string, copy: string): Promise<void> {
  await runClient('cmp', [source, copy], {}, COPY_DEADLINE_MS);
}

/** A client that comes, reads one block and goes. */
function visited(target: Target): Promise<Taken> {
  const one = { name: 'visit', client: 'qemu-img', direction: 'read', blockBytes: 4096, depth: 1 } as const;
  return take(target.pids, () => qemuImgBench(target, { ...one, durable: 'no', quick: true }, 1));
}
