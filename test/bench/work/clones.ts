/** Clones of a golden image by the system's own commands, and reads as of guests that all boot from them at once. */
import { prefill, readAll } from '../clients.js';
import type { Target } from '../targets.js';
import { bootReads } from './boot-reads.js';
import { QemuIo } from './qemu-io.js';
import { durationCell, less, type Taken, take } from './taken.js';
import type { Place, Work } from './work.js';

const MIB = 2 ** 20;
const GOLDEN = 'golden';
const GOLDEN_BYTES_MAX = 512 * MIB;
const CLONES = 20;
const duration = { unit: 'ms', better: 'less', cpuUnit: 'ms' } as const;

export function goldenBytes(sizeBytes: number): number {
  return Math.min(GOLDEN_BYTES_MAX, sizeBytes);
}

export function clonesWork(sizeBytes: number): Work {
  const bytes = goldenBytes(sizeBytes);
  return {
    figures: [
      { name: `snapshot of a golden image of ${bytes / MIB} MiB, and ${CLONES} clones`, ...duration },
      { name: `the same, less ${CLONES + 1} commands that only look`, ...duration },
      { name: `boot-like reads of 16 MiB from each of ${CLONES} clones at once`, ...duration },
    ],
    note:
      'Clones: one command for the snapshot and one for each clone (dog vdi clone; rbd clone, format 2), in ' +
      `turn. Then ${CLONES} qemu-io, connected before, read at depth 1 each until the last is done: 15 MiB in ` +
      'sequences of 64 KiB, and between them 256 scattered blocks of 4 KiB; the image was read once before.',
    missing: ({ clones }) => (clones === undefined ? 'it has no clones of volumes' : undefined),
    async prepare(target: Target) {
      await target.volumes!.create(GOLDEN, bytes);
      await prefill(target.volumes!.at(GOLDEN), bytes);
    },
    async measure(target: Target, _: Place, run: number) {
      const tag = `round${run}`;
      const names = Array.from({ length: CLONES }, (_, index) => `clone${run}-${index}`);
      const looking = await take(target.pids, () => lookAsOften(target));
      const cloning = await take(target.pids, () => cloneAll(target, tag, names));
      await readAll(target.volumes!.at(GOLDEN), bytes);
      const reading = await readClones(target, names, bytes);
      for (const name of names) await target.volumes!.remove(name);
      await target.clones!.removeSnapshot(GOLDEN, tag);
      return [cloning, less(cloning, looking), reading].map((taken) => taken && durationCell(taken));
    },
  };
}

/** Commands are processes: theirs is most of the time. */
async function lookAsOften({ volumes }: Target): Promise<void> {
  for (let count = 0; count < CLONES + 1; count++) await volumes!.look();
}

async function cloneAll({ clones }: Target, tag: string, names: readonly string[]): Promise<void> {
  await clones!.snapshot(GOLDEN, tag);
  for (const name of names) await clones!.clone(GOLDEN, tag, name);
}

async function readClones(target: Target, names: readonly string[], bytes: number): Promise<Taken> {
  const guests: QemuIo[] = [];
  try {
    for (const name of names) guests.push(await QemuIo.open(target.volumes!.at(name)));
    const reads = bootReads(bytes);
    const pids = [...target.pids, ...guests.map(({ pid }) => pid)];
    return await take(pids, () => Promise.all(guests.map((guest) => guest.run(reads))));
  } finally {
    await Promise.all(guests.map((guest) => guest.close()));
  }
}
