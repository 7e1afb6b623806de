/**
 * Object ids: 64 bits that say which volume an object belongs to, what it is and which one it is.
 *
 *   bits  0-31  index: data object number, vmstate number, attribute id, B-tree node number; 0 for an inode
 *   bits 32-55  vid, the 24-bit volume id (for attributes: the hash of the volume's name)
 *   bits 56-58  reserved, zero
 *   bit  59     ledger     bit 60  B-tree node     bit 61  attribute     bit 62  vmstate     bit 63  inode
 *
 * A data object has none of the bits 59 to 63.
 */
import { AssertionError, assert } from '../base/assert.js';

export type OidKind = 'data' | 'inode' | 'vmstate' | 'attr' | 'btree' | 'ledger';

/** Volume ids are 1 .. VID_COUNT - 1. */
export const VID_COUNT = 1 << 24;
/** Slots of an inode's index, so also the number of data objects of the largest ordinary volume. */
export const DATA_OBJECTS_MAX = 1 << 20;

// The upper word of an oid: kind bits, reserved bits, vid.
const INODE = 0x80000000;
const VMSTATE = 0x40000000;
const ATTR = 0x20000000;
const BTREE = 0x10000000;
const LEDGER = 0x08000000;
const KIND_MASK = 0xf8000000;
const RESERVED_MASK = 0x07000000;
const VID_MASK = 0x00ffffff;
const OID_MAX = 0xffffffffffffffffn;

// Splitting a bigint by shifts allocates; storing it in a typed array does not. Nothing is kept between calls.
const whole = new BigUint64Array(1);
const words = new Uint32Array(whole.buffer);
whole[0] = 1n;
assert(words[0] === 1, 'this host is not little-endian');

export function lowWordOf(oid: bigint): number {
  whole[0] = oid;
  return words[0]!;
}

export function highWordOf(oid: bigint): number {
  whole[0] = oid;
  return words[1]!;
}

function compose(kind: number, vid: number, index: number): bigint {
  // Not assert(): its message would be built for every object.
  if (!(vid >= 0 && vid < VID_COUNT)) throw new AssertionError(`vid ${vid} out of range`);
  if (!(index >= 0 && index <= 0xffffffff)) throw new AssertionError(`object index ${index} out of range`);
  words[0] = index;
  words[1] = (kind | vid) >>> 0;
  return whole[0]!;
}

export function dataOid(vid: number, index: number): bigint {
  return compose(0, vid, index);
}

export function inodeOid(vid: number): bigint {
  return compose(INODE, vid, 0);
}

export function vmstateOid(vid: number, index: number): bigint {
  return compose(VMSTATE, vid, index);
}

/** Attributes are keyed by the hash of the volume's name (sdHashVdi), so they outlive snapshots. */
export function attrOid(nameHash: number, attrId: number): bigint {
  return compose(ATTR, nameHash, attrId);
}

export function ledgerOid(vid: number, index: number): bigint {
  return compose(LEDGER, vid, index);
}

export function vidOf(oid: bigint): number {
  return highWordOf(oid) & VID_MASK;
}

export function indexOf(oid: bigint): number {
  return lowWordOf(oid);
}

export function isData(oid: bigint): boolean {
  return (highWordOf(oid) & KIND_MASK) === 0;
}

export function isInode(oid: bigint): boolean {
  return (highWordOf(oid) & INODE) !== 0;
}

export function isVmstate(oid: bigint): boolean {
  return (highWordOf(oid) & VMSTATE) !== 0;
}

export function isAttr(oid: bigint): boolean {
  return (highWordOf(oid) & ATTR) !== 0;
}

/** Kind by the one bit that is set; undefined when several are. */
export function kindOf(oid: bigint): OidKind | undefined {
  switch ((highWordOf(oid) & KIND_MASK) >>> 0) {
    case 0:
      return 'data';
    case INODE:
      return 'inode';
    case VMSTATE:
      return 'vmstate';
    case ATTR:
      return 'attr';
    case BTREE:
      return 'btree';
    case LEDGER:
      return 'ledger';
    default:
      return undefined;
  }
}

/**
 * The oid whose hash decides where an object lies (D-16): a data object is placed by the root of its volume's
 * family and its index, so that all versions of a block share their disks. Everything else by its own oid.
 */
export function placementOid(oid: bigint, rootVid: number): bigint {
  return isData(oid) ? dataOid(rootVid, indexOf(oid)) : oid;
}

/** Why this cannot be the id of an object, as text; undefined when it can. For ids that came from a client (I-10). */
export function invalidOid(oid: bigint): string | undefined {
  if (oid < 0n || oid > OID_MAX) return 'object id is not a 64-bit number';
  if ((highWordOf(oid) & RESERVED_MASK) !== 0) return 'reserved bits of the object id are set';
  const kind = kindOf(oid);
  if (kind === undefined) return 'object id names two kinds of object';
  // A name may hash to 0; a volume never has id 0.
  if (kind !== 'attr' && vidOf(oid) === 0) return 'volume id 0 is never used';
  if (kind === 'inode' && indexOf(oid) !== 0) return 'an inode has no index';
  const indexed = kind === 'data' || kind === 'vmstate' || kind === 'ledger';
  if (indexed && indexOf(oid) >= DATA_OBJECTS_MAX) return 'object index beyond the end of every volume';
  return undefined;
}

/** Sixteen hexadecimal digits, as in file names, logs and the original's messages. */
export function formatOid(oid: bigint): string {
  return oid.toString(16).padStart(16, '0');
}

/** The reverse of formatOid; undefined when the text is not 1 to 16 hexadecimal digits. */
export function parseOid(text: string): bigint | undefined {
  return /^[0-9a-fA-F]{1,16}$/.test(text) ? BigInt(`0x${text}`) : undefined;
}
