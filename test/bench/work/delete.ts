/** Deletion of a volume that is full, by the system's own command. */
import { execa } from 'execa';
import { prefill } from '../clients.js';
import type { Target } from '../targets.js';
import { durationCell, less, take } from './taken.js';
import type { Place, Work } from './work.js';

const MIB = 2 ** 20;
const NAME = 'gone';
const duration = { unit: 'ms', better: 'less', cpuUnit: 'ms' } as const;

export function deleteWork(sizeBytes: number): Work {
  return {
    figures: [
      { name: `deletion of a full volume of ${sizeBytes / MIB} MiB`, ...duration },
      { name: 'the same deletion, less a command that only looks', ...duration },
    ],
    note:
      "Deletion: the system's own command (dog vdi delete, rbd rm, rm), with its start, until it returns; what a " +
      'system frees afterwards is in no figure.',
    missing: ({ name, volumes }) => (volumes === undefined ? missing[name] : undefined),
    async measure(target: Target, place: Place) {
      const volumes = target.volumes!;
      await volumes.create(NAME, place.sizeBytes);
      await prefill(volumes.at(NAME), place.sizeBytes);
      await execa('sync');
      const look = await take(target.pids, () => volumes.look());
      const taken = await take(target.pids, () => volumes.remove(NAME));
      const rest = less(taken, look);
      return [durationCell(taken), rest && durationCell(rest)];
    },
  };
}

const missing: Partial<Record<Target['name'], string>> = {
  gluster: "QEMU's driver, its only client here, removes no files",
  'qemu-nbd': 'it serves one file, and has no command for volumes',
  nbdkit: 'it serves one disk, and has no command for volumes',
};
