/** Starts what a comparison is between. What cannot start is left out with its reason; Sheepfold cannot be left out. */
import { oldQemu } from '../../helpers/old-qemu.js';
import { hasTool } from '../../helpers/requires.js';
import { prefill } from '../clients.js';
import type { PeerSettings } from '../options.js';
import { say } from '../progress.js';
import {
  startNbdkit,
  startQemuNbd,
  startRaw,
  startSheepfold,
  type Target,
  type TargetName,
} from '../targets.js';
import { cephTools, startCeph } from './ceph.js';
import { glusterTools, startGluster } from './gluster.js';
import { reason } from './reason.js';
import { type SheepdogPrograms, startSheepdog } from './sheepdog.js';

type Start = (sizeBytes: number) => Promise<Target>;

/** Adds each target to `started` as soon as it runs, so that it is stopped when a later one throws. */
export async function startAll(settings: PeerSettings, sizeBytes: number, started: Target[]): Promise<void> {
  const starts: Record<TargetName, Start> = {
    sheepfold: startSheepfold,
    ceph: needs(cephTools, startCeph),
    gluster: needs(glusterTools, startGluster),
    sheepdog: (bytes) => startSheepdog(bytes, sheepdogPrograms(settings)),
    'qemu-nbd': needs(['qemu-nbd'], startQemuNbd),
    nbdkit: needs(['nbdkit'], startNbdkit),
    raw: startRaw,
  };
  for (const name of settings.targets) {
    // Most have no C Sheepdog, and did not ask for it.
    if (name === 'sheepdog' && settings.sheepdog === undefined) continue;
    say(`starting ${name}`);
    try {
      started.push(await starts[name](sizeBytes));
    } catch (error) {
      if (name === 'sheepfold') throw error;
      say(`left out: ${name} (${reason(error)})`);
    }
  }
  for (const target of [...started]) {
    try {
      await prefill(target, sizeBytes);
    } catch (error) {
      if (target.name === 'sheepfold') throw error;
      say(`left out: ${target.name} (${reason(error)})`);
      started.splice(started.indexOf(target), 1);
      await target.stop();
    }
  }
}

function needs(tools: readonly string[], start: Start): Start {
  return async (sizeBytes) => {
    const absent = tools.filter((tool) => !hasTool(tool));
    if (absent.length > 0) throw new Error(`needs ${absent.join(', ')}`);
    return start(sizeBytes);
  };
}

function sheepdogPrograms({ sheepdog }: PeerSettings): SheepdogPrograms {
  const { sheep, dog, qemuImg = oldQemu()?.img } = sheepdog!;
  if (qemuImg === undefined)
    throw new Error('needs a qemu-img up to 6.0: --sheepdog-qemu-img, or build one by scripts/old-qemu.sh');
  return { sheep, dog, qemuImg };
}
