import { AppError } from '../../base/errors.js';
import type { VdiInfo } from '../../control/api.js';
import { type Manifest, parseManifest } from './manifest.js';
import { parseImageName, parseTag } from './names.js';
import { decodeHead } from './save-image.js';

/** What there is of checkpoints in a cluster, and what of it belongs to none; pure. */

/** The image of a checkpoint's state, and the bytes before its stream (or why they cannot be read). */
export interface FoundState {
  readonly image: VdiInfo;
  readonly head: Buffer | AppError;
}

export interface Checkpoint {
  readonly domain: string;
  readonly name: string;
  readonly image: VdiInfo;
  /** Undefined: it cannot be read. */
  readonly manifest: Manifest | undefined;
  /** Its disks at that moment. */
  readonly snapshots: readonly VdiInfo[];
  /** Why it cannot be loaded; undefined: it can. */
  readonly broken: string | undefined;
}

/** Snapshots that one run of `dog vm savevm` made and whose state is not there: it was ended, or is still at work. */
export interface Orphans {
  readonly id: string;
  readonly snapshots: readonly VdiInfo[];
}

export interface Inventory {
  readonly checkpoints: readonly Checkpoint[];
  readonly orphans: readonly Orphans[];
}

/**
 * The appearance of the image is the moment at which a checkpoint exists: all else is there by then, and is removed
 * after it. So snapshots without an image are debris, unless a run is at work. An image without its snapshots (somebody
 * deleted them one by one) is shown as broken, and never removed unasked.
 */
export function takeInventory(vdis: readonly VdiInfo[], states: readonly FoundState[]): Inventory {
  const bySnapshot = new Map<string, VdiInfo[]>();
  for (const vdi of vdis) {
    const id = vdi.snapshot ? parseTag(vdi.tag)?.id : undefined;
    if (id !== undefined) bySnapshot.set(id, [...(bySnapshot.get(id) ?? []), vdi]);
  }
  const checkpoints = states.map((state) => checkpointOf(state, bySnapshot));
  // Of one that cannot be read nobody knows the id: its snapshots may be any with its name.
  const unread = new Set(checkpoints.filter(({ manifest }) => !manifest).map(({ name }) => name));
  const ids = new Set(checkpoints.map(({ manifest }) => manifest?.id));
  const orphans = [...bySnapshot]
    .filter(([id, [first]]) => !ids.has(id) && !unread.has(parseTag(first!.tag)!.name))
    .map(([id, snapshots]) => ({ id, snapshots }));
  return { checkpoints, orphans };
}

function checkpointOf({ image, head }: FoundState, bySnapshot: ReadonlyMap<string, VdiInfo[]>): Checkpoint {
  const { domain, name } = parseImageName(image.name)!;
  try {
    if (head instanceof AppError) throw head;
    const manifest = parseManifest(decodeHead(head).note);
    const snapshots = bySnapshot.get(manifest.id) ?? [];
    const absent = manifest.disks.filter(({ volume }) => !snapshots.some((one) => one.name === volume));
    const list = absent.map(({ volume, target }) => `${volume} (${target})`).join(', ');
    const broken = absent.length === 0 ? undefined : `there is no snapshot any more of ${list}`;
    return { domain, name, image, manifest, snapshots, broken };
  } catch (error) {
    if (!AppError.isCode(error, 'invalid', 'io', 'checksum')) throw error;
    return { domain, name, image, manifest: undefined, snapshots: [], broken: error.message };
  }
}
