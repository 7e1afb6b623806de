import { LibvirtError } from '../rpc/errors.js';
import { discardRange, refuseFrozen } from './content.js';
import { writeEmptyQcow2 } from './new-volume.js';
import { deleteVersion, describeVolume, readFormat, snapshotsOf, type Volume } from './volume.js';

/** Flags of virStorageVolDelete and virStorageVolResize. */
export const DeleteFlag = { zeroed: 1, withSnapshots: 2 } as const;
export const ResizeFlag = { allocate: 1, delta: 2, shrink: 4 } as const;

/** Names of virStorageVolWipeAlgorithm by number. Passes of patterns mean nothing where every write goes elsewhere. */
const WIPE_ALGORITHMS = [
  'zero',
  'nnsa',
  'dod',
  'bsi',
  'gutmann',
  'schneier',
  'pfitzner7',
  'pfitzner33',
].concat('random', 'trim');
const wipesByDiscard: readonly (string | undefined)[] = ['zero', 'trim'];

/**
 * Deletes a volume, or one snapshot named `volume@tag`. A volume that has snapshots goes with them or not at all, as
 * with libvirt's other stores that have snapshots; clones made of either live on.
 */
export async function deleteVolume(volume: Volume, flags: number): Promise<void> {
  const { pool, ref } = volume;
  if (!volume.snapshot) {
    const snapshots = await snapshotsOf(volume);
    if (snapshots.length > 0 && (flags & DeleteFlag.withSnapshots) === 0) {
      throw new LibvirtError(
        'operation-invalid',
        `volume '${volume.name}' has ${snapshots.length} snapshots`,
      );
    }
    // The volume last: whoever is interrupted can ask for the same again.
    for (const { snapId } of snapshots) await deleteVersion(pool, { name: volume.vdi, snapId });
  }
  await deleteVersion(pool, ref);
}

/** `capacity` in bytes: the new size, or what is added (taken away) with the delta flag. */
export async function resizeVolume(volume: Volume, capacity: number, flags: number): Promise<void> {
  refuseFrozen(volume);
  const { capacityBytes, allocationBytes, format } = await describeVolume(volume);
  const shrink = (flags & ResizeFlag.shrink) !== 0;
  const sizeBytes = newSize(capacityBytes, capacity, { delta: (flags & ResizeFlag.delta) !== 0, shrink });
  if (sizeBytes < allocationBytes && !shrink) {
    throw new LibvirtError('invalid-arg', "can't shrink capacity below existing allocation");
  }
  if (sizeBytes < capacityBytes && !shrink) {
    const detail = "Can't shrink capacity below current capacity unless shrink flag explicitly specified";
    throw new LibvirtError('invalid-arg', detail);
  }
  if (sizeBytes < capacityBytes)
    throw new LibvirtError('no-support', 'a cluster cannot make a volume smaller');
  if (format !== 'raw') {
    throw new LibvirtError(
      'no-support',
      `the image in a ${format} volume is resized with qemu-img or by its guest`,
    );
  }
  if (sizeBytes === capacityBytes) return;
  await volume.pool.ask('vdi.resize', { name: volume.vdi, sizeBytes: Math.ceil(sizeBytes / 512) * 512 });
}

function newSize(current: number, capacity: number, how: { delta: boolean; shrink: boolean }): number {
  if (!how.delta) return capacity;
  return how.shrink ? current - Math.min(capacity, current) : current + capacity;
}

/** Afterwards the volume is zeroes that take no room; what its snapshots have stays theirs. */
export async function wipeVolume(volume: Volume, algorithm: number): Promise<void> {
  const name = WIPE_ALGORITHMS[algorithm];
  if (name === undefined)
    throw new LibvirtError('invalid-arg', `wiping algorithm ${algorithm} not supported`);
  if (!wipesByDiscard.includes(name))
    throw new LibvirtError('no-support', `unsupported algorithm ${algorithm}`);
  refuseFrozen(volume);
  const { format, capacityBytes } = await readFormat(volume);
  await discardRange(volume, 0, volume.info.sizeBytes);
  // A qcow2 volume of zeroes could not be opened any more.
  if (format === 'qcow2') await writeEmptyQcow2(volume.pool, volume.vdi, capacityBytes!);
  else await volume.pool.ask('vdi.flush', { name: volume.vdi });
}
