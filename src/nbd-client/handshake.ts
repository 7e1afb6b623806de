import type { Duplex } from 'node:stream';
import { AppError } from '../base/errors.js';
import { ByteReader } from '../nbd/byte-reader.js';
import {
  BASE_ALLOCATION,
  GREETING_BYTES,
  HandshakeFlag,
  IHAVEOPT,
  InfoType,
  NBDMAGIC,
  nameOfOptionReply,
  OPTION_HEADER_BYTES,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC,
  Option,
  OptionReply,
} from '../nbd/protocol.js';
import { OPTION_BYTES_MAX } from './limits.js';
import { BrokenStream } from './reply-parser.js';
import { getU64 } from './u64.js';

const CLIENT_FLAGS = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES;
const EXPORT_INFO_BYTES = 12;

export interface ExportInfo {
  readonly sizeBytes: number;
  readonly transmissionFlags: number;
  /** What came after the handshake, and belongs to transmission. */
  readonly rest: Buffer;
}

/**
 * From the greeting to transmission: structured replies, base:allocation, GO. Rejects with AppError 'no-vdi' when
 * there is no such export, 'again' when the server does not give it now (it starts, or it goes down), with
 * BrokenStream when it does not speak the protocol, with ConnectionEnded when it hangs up.
 */
export async function shakeHands(stream: Duplex, exportName: string): Promise<ExportInfo> {
  const reader = new ByteReader(stream);
  const greeting = await reader.read(GREETING_BYTES);
  const magics = [...NBDMAGIC, ...IHAVEOPT];
  if (magics.some((magic, i) => greeting.readUInt32BE(i * 4) !== magic))
    throw new BrokenStream('no NBD server');
  const flags = Buffer.alloc(4);
  flags.writeUInt32BE(CLIENT_FLAGS);
  stream.write(flags);
  await ask(stream, reader, Option.STRUCTURED_REPLY, Buffer.alloc(0));
  const name = counted(Buffer.from(exportName));
  const one = Buffer.from([0, 0, 0, 1]);
  const query = counted(Buffer.from(BASE_ALLOCATION));
  await ask(stream, reader, Option.SET_META_CONTEXT, Buffer.concat([name, one, query]));
  const infos = await ask(stream, reader, Option.GO, Buffer.concat([name, Buffer.from([0, 0])]));
  const info = infos.find(
    (each) => each.length >= EXPORT_INFO_BYTES && each.readUInt16BE(0) === InfoType.EXPORT,
  );
  if (info === undefined) throw new BrokenStream('an export without a size');
  return {
    sizeBytes: getU64(info, 2),
    transmissionFlags: info.readUInt16BE(10),
    rest: reader.detach(),
  };
}

/** One option; resolves with the payloads of the replies before the ACK. */
async function ask(stream: Duplex, reader: ByteReader, option: number, payload: Buffer): Promise<Buffer[]> {
  const header = Buffer.alloc(OPTION_HEADER_BYTES);
  header.writeUInt32BE(IHAVEOPT[0], 0);
  header.writeUInt32BE(IHAVEOPT[1], 4);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(payload.length, 12);
  stream.write(Buffer.concat([header, payload]));
  const answers: Buffer[] = [];
  for (;;) {
    const reply = await reader.read(OPTION_REPLY_HEADER_BYTES);
    const length = reply.readUInt32BE(16);
    const known = OPTION_REPLY_MAGIC.every((magic, i) => reply.readUInt32BE(i * 4) === magic);
    if (!known || reply.readUInt32BE(8) !== option || length > OPTION_BYTES_MAX) {
      throw new BrokenStream('not an answer to an option');
    }
    const body = await reader.read(length);
    const type = reply.readUInt32BE(12);
    if (type === OptionReply.ACK) return answers;
    if (type > OptionReply.ERR_UNSUP - 1) throw refused(type, body.toString());
    answers.push(body);
  }
}

function refused(type: number, text: string): AppError {
  const code = type === OptionReply.ERR_UNKNOWN ? 'no-vdi' : 'again';
  return new AppError(code, text === '' ? nameOfOptionReply(type) : text);
}

function counted(bytes: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}
