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

/** A whole new log file. */
export function encodeHead(state: KeyValueState, generation: number): { bytes: Buffer; header: FileHeader } {
  const snapshot = Buffer.from(JSON.stringify(state.image()));
  const header = { generation, snapshotBytes: snapshot.length, snapshotCrc: crc32(snapshot) };
  const out = Buffer.alloc(FILE_HEADER_BYTES);
  out.write(MAGIC, 0, 'latin1');
  out.writeUInt32LE(FORMAT_VERSION, 8);
  out.writeUInt32LE(generation, 12);
  out.writeUInt32LE(header.snapshotBytes, 16);
  out.writeUInt32LE(header.snapshotCrc, 20);
  out.writeUInt32LE(crc32(out.subarray(0, 28)), 28);
  return { bytes: Buffer.concat([out, snapshot]), header };
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
