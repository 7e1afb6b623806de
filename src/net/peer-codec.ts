/**
 * The bytes of a PeerMessage: one fixed header, then the payload. Little-endian.
 *
 *   off size field
 *     0    4 magic          53 46 50, then the version of this format (01)
 *     4    4 payloadLength  bytes after the header
 *     8    4 payloadCrc     CRC-32 of the payload, 0 when it is empty
 *    12    2 type
 *    14    2 flags
 *    16    4 id
 *    20    4 epoch
 *    24    2 result         src/wire/peer-result.ts
 *    26    1 copies
 *    27    1 objectShift
 *    28    4 root
 *    32    8 oid
 *    40    8 parent
 *    48    8 offset
 *    56    4 length
 *    60    4 sequence
 *    64    4 commit
 *    68    8 reserved       zero, and checked
 *    76    4 headerCrc      CRC-32 of bytes 0 to 75
 *
 * The header has its own checksum, so a length is believed only after it has been verified; it covers the payload's
 * checksum, so a header never goes with another message's payload. The first byte is none of those that begin a
 * sheepdog request (0, 1, 2, 0x0a): one port serves both.
 *
 * Hand-written instead of a layout table because every message passes here; the test holds it against the table.
 */
import { AssertionError } from '../base/assert.js';
import { crc32 } from '../base/bytes.js';
import { PEER_PAYLOAD_BYTES_MAX, type PeerMessage } from '../wire/peer-message.js';
import { headerCrc32 } from './header-crc.js';

export { codeOfResult, errorOf, PEER_SUCCESS, resultOf, resultOfCode } from '../wire/peer-result.js';

export const PEER_HEADER_BYTES = 80;
const CRC_OFFSET = 76;
/** 'SFP' and the version, read as a little-endian u32. */
const MAGIC = 0x01504653;
const MAGIC_BYTES = [0x53, 0x46, 0x50, 0x01];

/** A header that has been verified, before its payload is there. */
export interface PeerHeader {
  readonly message: PeerMessage;
  readonly payloadLength: number;
  readonly payloadCrc: number;
}

const EMPTY = new Uint8Array(0);

/** Writes the header of `message` at `offset` of the view; the payload is only looked at, unless its CRC is known. */
export function encodeHeader(message: PeerMessage, view: DataView, offset: number): void {
  const length = message.payload.length;
  if (length > PEER_PAYLOAD_BYTES_MAX)
    throw new AssertionError(`peer payload of ${length} bytes is too long`);
  // A length silently cut to 32 bits would zero the wrong range.
  if (message.length > 0xffffffff) throw new AssertionError(`length ${message.length} does not fit`);
  view.setUint32(offset, MAGIC, true);
  view.setUint32(offset + 4, length, true);
  view.setUint32(offset + 8, length === 0 ? 0 : message.payloadCrc || crc32(message.payload), true);
  view.setUint16(offset + 12, message.type, true);
  view.setUint16(offset + 14, message.flags, true);
  view.setUint32(offset + 16, message.id, true);
  view.setUint32(offset + 20, message.epoch, true);
  view.setUint16(offset + 24, message.result, true);
  view.setUint8(offset + 26, message.copies);
  view.setUint8(offset + 27, message.objectShift);
  view.setUint32(offset + 28, message.root, true);
  view.setBigUint64(offset + 32, message.oid, true);
  view.setBigUint64(offset + 40, message.parent, true);
  setSafe64(view, offset + 48, message.offset);
  view.setUint32(offset + 56, message.length, true);
  view.setUint32(offset + 60, message.sequence, true);
  view.setUint32(offset + 64, message.commit, true);
  view.setUint32(offset + 68, 0, true);
  view.setUint32(offset + 72, 0, true);
  view.setUint32(offset + CRC_OFFSET, headerCrc32(view, offset, CRC_OFFSET), true);
}

/**
 * Verifies and reads the header at `offset`. A text instead of a header says why it is not one: the channel cannot
 * be trusted any more and has to be closed.
 */
export function decodeHeader(view: DataView, offset: number): PeerHeader | string {
  const magic = view.getUint32(offset, true);
  if (magic !== MAGIC) return `bad magic ${magic.toString(16)}: not a peer, or one of another version`;
  const crc = headerCrc32(view, offset, CRC_OFFSET);
  if (view.getUint32(offset + CRC_OFFSET, true) !== crc) return 'header checksum mismatch';
  const payloadLength = view.getUint32(offset + 4, true);
  if (payloadLength > PEER_PAYLOAD_BYTES_MAX) return `payload of ${payloadLength} bytes is too long`;
  if (view.getUint32(offset + 68, true) !== 0 || view.getUint32(offset + 72, true) !== 0) {
    return 'reserved bytes are set';
  }
  const offsetHigh = view.getUint32(offset + 52, true);
  if (offsetHigh > 0x1fffff) return 'offset is not a safe integer';
  return {
    payloadLength,
    payloadCrc: view.getUint32(offset + 8, true),
    message: {
      type: view.getUint16(offset + 12, true),
      flags: view.getUint16(offset + 14, true),
      id: view.getUint32(offset + 16, true),
      result: view.getUint16(offset + 24, true),
      epoch: view.getUint32(offset + 20, true),
      oid: view.getBigUint64(offset + 32, true),
      parent: view.getBigUint64(offset + 40, true),
      root: view.getUint32(offset + 28, true),
      copies: view.getUint8(offset + 26),
      objectShift: view.getUint8(offset + 27),
      offset: view.getUint32(offset + 48, true) + offsetHigh * 4294967296,
      length: view.getUint32(offset + 56, true),
      sequence: view.getUint32(offset + 60, true),
      commit: view.getUint32(offset + 64, true),
      payload: EMPTY,
      payloadCrc: 0,
      payloadSums: undefined,
    },
  };
}

/** Header and payload in one new buffer: for tests, and for what is sent once in a connection's life. */
export function encodePeerMessage(message: PeerMessage): Buffer {
  const out = Buffer.alloc(PEER_HEADER_BYTES + message.payload.length);
  encodeHeader(message, new DataView(out.buffer, out.byteOffset, out.length), 0);
  out.set(message.payload, PEER_HEADER_BYTES);
  return out;
}

/** Whether a connection that begins with these bytes is a peer's. Four bytes decide. */
export function looksLikePeer(firstBytes: Uint8Array): boolean | 'need-more' {
  for (let i = 0; i < MAGIC_BYTES.length; i++) {
    if (i === firstBytes.length) return 'need-more';
    // Another version is a peer too: it is refused by the framer, with words, and not taken for a client.
    const versionByte = i === MAGIC_BYTES.length - 1;
    if (!versionByte && firstBytes[i] !== MAGIC_BYTES[i]) return false;
  }
  return true;
}

function setSafe64(view: DataView, offset: number, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new AssertionError(`offset ${value} is not a safe integer`);
  view.setUint32(offset, value % 4294967296, true);
  view.setUint32(offset + 4, Math.floor(value / 4294967296), true);
}
