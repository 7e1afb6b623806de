import { crc32 } from '../../base/bytes.js';
import { AppError } from '../../base/errors.js';
import { KeyValueState, type StateImage } from '../key-value-state.js';

/**
 * The head of a log file: what the state was when the file before it ended. Numbers are little-endian.
 *
 *   offset  width  field
 *        0      8  magic "SHEEPLOG"
 *        8      4  format version, 1
 *       12      4  generation: the number in the file's name
 *       16      4  snapshot length in bytes
 *       20      4  CRC-32 of the snapshot
 *       24      4  zero
 *       28      4  CRC-32 of bytes 0..27
 *       32         snapshot: a StateImage as JSON in UTF-8. Two processes with one state write the same bytes
 *                  records follow at once
 */
export const FILE_HEADER_BYTES = 32;
export const FORMAT_VERSION = 1;
const MAGIC = 'SHEEPLOG';

export interface FileHeader {
  readonly generation: number;
  readonly snapshotBytes: number;
  readonly snapshotCrc: number;
}

/** Lets others have their turn of the event loop. */
export type Yield = () => Promise<void>;

/** Entries made text between two turns: a state may be many megabytes, and clients are served by the same process. */
const SLICE_ENTRIES = 1000;

/** A whole new log file, in pieces. The state must not change until it resolves. */
export async function encodeHead(
  state: KeyValueState,
  generation: number,
  giveWay: Yield,
): Promise<{ pieces: Buffer[]; header: FileHeader }> {
  const pieces: Buffer[] = [];
  let snapshotBytes = 0;
  let snapshotCrc = 0;
  for await (const piece of snapshotPieces(state, giveWay)) {
    pieces.push(piece);
    snapshotBytes += piece.length;
    snapshotCrc = crc32(piece, snapshotCrc);
  }
  const header = { generation, snapshotBytes, snapshotCrc };
  return { pieces: [encodeHeader(header), ...pieces], header };
}

/** The image as JSON.stringify writes it. */
async function* snapshotPieces(state: KeyValueState, giveWay: Yield): AsyncGenerator<Buffer, undefined> {
  const { revision, entries, leases } = state.image();
  yield Buffer.from(`{"revision":${revision},"entries":[`);
  for (let at = 0; at < entries.length; at += SLICE_ENTRIES) {
    if (at > 0) await giveWay();
    const list = JSON.stringify(entries.slice(at, at + SLICE_ENTRIES));
    yield Buffer.from(`${at === 0 ? '' : ','}${list.slice(1, -1)}`);
  }
  yield Buffer.from(`],"leases":${JSON.stringify(leases)}}`);
  return undefined;
}

function encodeHeader(header: FileHeader): Buffer {
  const out = Buffer.alloc(FILE_HEADER_BYTES);
  out.write(MAGIC, 0, 'latin1');
  out.writeUInt32LE(FORMAT_VERSION, 8);
  out.writeUInt32LE(header.generation, 12);
  out.writeUInt32LE(header.snapshotBytes, 16);
  out.writeUInt32LE(header.snapshotCrc, 20);
  out.writeUInt32LE(crc32(out.subarray(0, 28)), 28);
  return out;
}

/** Throws AppError 'version' for a file of a later version, 'checksum' for one that is damaged. */
export function decodeHeader(bytes: Buffer, path: string): FileHeader {
  if (bytes.length < FILE_HEADER_BYTES || bytes.toString('latin1', 0, 8) !== MAGIC) {
    throw new AppError('checksum', `${path} is not a log of the coordinator`);
  }
  if (crc32(bytes.subarray(0, 28)) !== bytes.readUInt32LE(28)) {
    throw new AppError('checksum', `the header of ${path} is damaged`);
  }
  const version = bytes.readUInt32LE(8);
  if (version !== FORMAT_VERSION) {
    const known = `this program knows version ${FORMAT_VERSION}`;
    throw new AppError('version', `${path} has format version ${version}; ${known}`);
  }
  return {
    generation: bytes.readUInt32LE(12),
    snapshotBytes: bytes.readUInt32LE(16),
    snapshotCrc: bytes.readUInt32LE(20),
  };
}

/** Throws AppError 'checksum' when the bytes are not those the header was made for. */
export function decodeSnapshot(snapshot: Buffer, header: FileHeader, path: string): KeyValueState {
  if (snapshot.length !== header.snapshotBytes || crc32(snapshot) !== header.snapshotCrc) {
    throw new AppError('checksum', `the snapshot in ${path} is damaged`);
  }
  return KeyValueState.fromImage(JSON.parse(snapshot.toString('utf8')) as StateImage);
}
