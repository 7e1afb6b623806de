/**
 * The hashes of the sheepdog protocol (reference, section 4.3), all built on FNV-1a 64.
 *
 * A 64-bit value is a pair of unsigned 32-bit numbers here: the prime is 2^40 + 0x1b3, so a multiplication needs
 * only products below 2^53, which doubles hold exactly. That is many times faster than bigint arithmetic, and
 * vid allocation and placement run it for every name and every object.
 */
import { highWordOf, lowWordOf } from './oid.js';

/** A 64-bit unsigned number: hi * 2^32 + lo. */
export interface Hash64 {
  readonly hi: number;
  readonly lo: number;
}

export const FNV_BASIS: Hash64 = { hi: 0xcbf29ce4, lo: 0x84222325 };
const PRIME_LOW = 0x1b3;
const WORD = 4294967296;

export function toBigInt(hash: Hash64): bigint {
  return (BigInt(hash.hi) << 32n) | BigInt(hash.lo);
}

export function fromBigInt(value: bigint): Hash64 {
  return { hi: highWordOf(value), lo: lowWordOf(value) };
}

/** FNV-1a 64 over the bytes, going on from `from`. */
export function fnv1a64(bytes: Uint8Array, from: Hash64 = FNV_BASIS): Hash64 {
  let { hi, lo } = from;
  for (let i = 0; i < bytes.length; i++) {
    lo = (lo ^ bytes[i]!) >>> 0;
    const product = lo * PRIME_LOW;
    // (hi:lo) * (2^40 + 0x1b3) mod 2^64: the 2^40 part only moves lo into the upper word, eight bits up.
    hi = (hi * PRIME_LOW + Math.floor(product / WORD) + lo * 256) >>> 0;
    lo = product >>> 0;
  }
  return { hi, lo };
}

/** FNV-1a over the eight little-endian bytes of `value`, going on from `from`. */
export function fnv64(value: Hash64, from: Hash64 = FNV_BASIS): Hash64 {
  let { hi, lo } = from;
  for (let i = 0; i < 8; i++) {
    const byte = ((i < 4 ? value.lo : value.hi) >>> ((i & 3) * 8)) & 0xff;
    lo = (lo ^ byte) >>> 0;
    const product = lo * PRIME_LOW;
    hi = (hi * PRIME_LOW + Math.floor(product / WORD) + lo * 256) >>> 0;
    lo = product >>> 0;
  }
  return { hi, lo };
}

/** The next point of a node on the ring: the hash's own bytes, hashed from itself. */
export function sdHashNext(hash: Hash64): Hash64 {
  return fnv64(hash, hash);
}

export function sdHash(bytes: Uint8Array): Hash64 {
  return sdHashNext(fnv1a64(bytes));
}

/** sd_hash_64, also known as sd_hash_oid: where an object lies on the ring. */
export function sdHashOid(oid: bigint): Hash64 {
  return sdHashNext(fnv64(fromBigInt(oid)));
}

/** The same for an oid given as two words: no bigint on the hot path. */
export function sdHashWords(hi: number, lo: number): Hash64 {
  return sdHashNext(fnv64({ hi, lo }));
}

/** The vid at which the search for a free one begins: 24 bits of the name's hash (UTF-8, without NUL). */
export function sdHashVdi(name: string | Uint8Array): number {
  const bytes = typeof name === 'string' ? Buffer.from(name, 'utf8') : name;
  return fnv1a64(bytes).lo & 0xffffff;
}

const ATTR_TEXT_BYTES = 256;

/** Id of an attribute object: name, tag and key padded to 256 bytes with zeros. Longer texts are cut. */
export function attrId(name: string, tag: string, snapId: number, key: string): number {
  const snap = Buffer.alloc(4);
  snap.writeUInt32LE(snapId);
  let hash = fnv1a64(padded(name));
  hash = fnv1a64(padded(tag), hash);
  hash = fnv1a64(snap, hash);
  return fnv1a64(padded(key), hash).lo;
}

function padded(text: string): Buffer {
  const out = Buffer.alloc(ATTR_TEXT_BYTES);
  out.write(text, 'utf8');
  return out;
}
