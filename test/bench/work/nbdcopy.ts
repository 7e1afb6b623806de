/** `nbdcopy` into and out of the volume, for targets with an NBD server: libnbd's own way to move an image. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { hasTool } from '../../helpers/requires.js';
import { runClient } from '../clients.js';
import type { Target } from '../targets.js';
import { COPY_DEADLINE_MS, mustBeEqual } from './convert.js';
import { sourceFile } from './source-file.js';
import { rateCell, take } from './taken.js';
import type { Place, Work } from './work.js';

const rate = { unit: 'MB/s', better: 'more', cpuUnit: 'ms/MB' } as const;

export function nbdcopyWork(): Work {
  return {
    figures: [
      { name: 'nbdcopy of a raw file into the volume', ...rate },
      { name: 'nbdcopy of the volume into a raw file', ...rate },
    ],
    note: 'nbdcopy: the same file, a flush at the end both ways, with the start of the client.',
    missing: nbdcopyMissing,
    prepare: async (_, place) => void (await sourceFile(place)),
    async measure(target: Target, place: Place) {
      const source = await sourceFile(place);
      const copy = join(place.folder, 'out.raw');
      const nbdcopy = (from: string, to: string) =>
        take(target.pids, () => runClient('nbdcopy', ['--flush', from, to], {}, COPY_DEADLINE_MS));
      try {
        const into = await nbdcopy(source, target.uri!);
        const out = await nbdcopy(target.uri!, copy);
        await mustBeEqual(source, copy);
        return [rateCell(into, place.sizeBytes), rateCell(out, place.sizeBytes)];
      } finally {
        rmSync(copy, { force: true });
      }
    },
  };
}

export function nbdcopyMissing(
  { uri }: Pick<Target, 'uri'>,
  has: (tool: string) => boolean = hasTool,
): string | undefined {
  if (uri?.startsWith('nbd') !== true) return 'nbdcopy speaks NBD only';
  return has('nbdcopy') ? undefined : 'needs nbdcopy';
}
