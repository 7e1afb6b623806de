import { Op, Result, VDI_BITMAP_BYTES } from '../wire/sheepdog.js';
import { Attributes } from './attributes.js';
import { HeldDiscards } from './held-discards.js';
import { InodeView } from './inode-view.js';
import { InodeWrites } from './inode-writes.js';
import { Lines } from './lines.js';
import { ObjectOperations } from './object-operations.js';
import { Openers } from './openers.js';
import type { Answer, Client, Operation, Operations, Request } from './operation.js';
import type { DoorParts } from './parts.js';
import { VdiOperations } from './vdi-operations.js';

export interface DoorOptions extends DoorParts {
  /** Connections from this address that have not said anything yet. */
  readonly silentFrom: (address: string) => Client[];
}

/** What can be said of volumes before there can be any. */
export const unformattedOperations: Operations = new Map<number, Operation>([
  [Op.READ_VDIS, emptyBitmap],
  [Op.READ_DEL_VDIS, emptyBitmap],
  [Op.GET_CLUSTER_DEFAULT, () => ({ result: Result.SUCCESS })],
]);

function emptyBitmap({ dataLength }: Request): Answer {
  if (dataLength !== VDI_BITMAP_BYTES) return { result: Result.INVALID_PARMS };
  return { result: Result.SUCCESS, payload: Buffer.alloc(VDI_BITMAP_BYTES) };
}

/** Operations on volumes and their objects: the client side of the sheepdog protocol. */
export function volumeOperations(options: DoorOptions): Operations {
  const lines = new Lines(options);
  const openers = new Openers(options, options.silentFrom);
  const inodes = new InodeView(options);
  const inodeWrites = new InodeWrites(options, inodes, lines);
  const held = new HeldDiscards(options.log);
  const attributes = new Attributes(options);
  const parts = { ...options, lines, openers, inodes, inodeWrites, held, attributes };
  return new Map([
    ...new ObjectOperations(parts).operations(),
    ...new VdiOperations(parts).operations(),
    ...attributes.operations(),
  ]);
}
