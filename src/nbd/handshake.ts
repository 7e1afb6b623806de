import type { Duplex } from 'node:stream';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { BlockDevice, DeviceProvider } from '../volume/device.js';
import { type ByteReader, ConnectionEnded } from './byte-reader.js';
import { ExportHandle, preferredBlockBytes, type ReplyStyle, transmissionFlags } from './exports.js';
import type { NbdLimits } from './limits.js';
import * as codec from './option-codec.js';
import {
  BASE_ALLOCATION,
  BASE_ALLOCATION_ID,
  HandshakeFlag,
  IHAVEOPT,
  InfoType,
  nameOfOption,
  OPTION_HEADER_BYTES,
  Option,
  OptionReply,
} from './protocol.js';

/** How the handshake ended: with an export, with the wish for TLS (acknowledged already), or with a goodbye. */
export type HandshakeResult =
  | {
      outcome: 'transmission';
      device: BlockDevice;
      name: string;
      style: ReplyStyle;
      allocationContext: boolean;
    }
  | { outcome: 'tls' }
  | { outcome: 'abort' };

export interface HandshakeOptions {
  readonly provider: DeviceProvider;
  readonly limits: NbdLimits;
  readonly log: Logger;
  /** 'off' and 'active': STARTTLS is refused. 'require': everything but STARTTLS and ABORT is. */
  readonly tls: 'off' | 'offer' | 'require' | 'active';
  /** Client flags of the part before TLS; undefined: greet the client and read them. */
  readonly clientFlags?: number;
}

/**
 * Option haggling, one option at a time, as a linear story over a ByteReader. A refusal is answered and the story
 * goes on; a breach of framing ends the connection (ConnectionEnded). Nothing negotiated before STARTTLS
 * survives it: the caller builds a new Handshake over the encrypted stream.
 */
export class Handshake {
  clientFlags = 0;
  /** True while the client waits for us: its deadline must not punish it for a slow cluster. */
  busy = false;
  private style: ReplyStyle = 'simple';
  /** The export for which SET_META_CONTEXT chose base:allocation. */
  private contextExport: string | undefined;
  private readonly handle: ExportHandle;
  private optionCount = 0;

  constructor(
    private readonly stream: Duplex,
    private readonly reader: ByteReader,
    private readonly options: HandshakeOptions,
  ) {
    this.handle = new ExportHandle(options.provider);
  }

  /** Resolves once. Rejects with ConnectionEnded; the device of a 'transmission' belongs to the caller. */
  async run(): Promise<HandshakeResult> {
    try {
      await this.exchangeFlags();
      for (;;) {
        const result = await this.nextOption();
        if (result !== undefined) return result;
      }
    } finally {
      await this.handle.release();
    }
  }

  private async exchangeFlags(): Promise<void> {
    if (this.options.clientFlags !== undefined) {
      this.clientFlags = this.options.clientFlags;
      return;
    }
    this.stream.write(codec.encodeGreeting());
    this.clientFlags = (await this.reader.read(4)).readUInt32BE(0);
    const known = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES;
    // `& ~known` is signed; any bit left over is one we do not know, and must end the connection.
    if ((this.clientFlags & ~known) !== 0) throw new ConnectionEnded('unknown client flags');
  }

  private async nextOption(): Promise<HandshakeResult | undefined> {
    const { limits } = this.options;
    const header = await this.reader.read(OPTION_HEADER_BYTES);
    if (header.readUInt32BE(0) !== IHAVEOPT[0] || header.readUInt32BE(4) !== IHAVEOPT[1]) {
      throw new ConnectionEnded('bad option magic');
    }
    const option = header.readUInt32BE(8);
    const length = header.readUInt32BE(12);
    if (++this.optionCount > limits.optionsMax) throw new ConnectionEnded('too many options');
    if (length > limits.optionDrainBytesMax) throw new ConnectionEnded('option payload absurdly long');
    this.mustBeAllowed(option);
    if (length > limits.optionBytesMax) {
      await this.reader.skip(length);
      if (option === Option.EXPORT_NAME) throw new ConnectionEnded('export name too long');
      return this.refuse(option, OptionReply.ERR_TOO_BIG, 'option payload too long');
    }
    const result = await this.answer(option, await this.reader.read(length));
    // A client that does not take its answers must not pile them up here.
    if (result === undefined && this.stream.writableNeedDrain) await this.drained();
    return result;
  }

  /** EXPORT_NAME has no error reply and old clients understand no reply at all: there, refusing is hanging up. */
  private mustBeAllowed(option: number): void {
    const fixed = (this.clientFlags & HandshakeFlag.FIXED_NEWSTYLE) !== 0;
    if (!fixed && option !== Option.EXPORT_NAME) throw new ConnectionEnded('client is not fixed newstyle');
    if (option !== Option.EXPORT_NAME) return;
    if (this.options.tls === 'require') throw new ConnectionEnded('TLS is required');
    if (this.style === 'extended') throw new ConnectionEnded('EXPORT_NAME after EXTENDED_HEADERS');
  }

  private async answer(option: number, payload: Buffer): Promise<HandshakeResult | undefined> {
    this.busy = true;
    try {
      return await this.dispatch(option, payload);
    } catch (error) {
      if (error instanceof ConnectionEnded || option === Option.EXPORT_NAME) throw asEnd(error);
      if (error instanceof codec.BadOption)
        return this.refuse(option, OptionReply.ERR_INVALID, error.message);
      if (error instanceof AppError) return this.refuseExport(option, error);
      throw error;
    } finally {
      this.busy = false;
    }
  }

  private async dispatch(option: number, payload: Buffer): Promise<HandshakeResult | undefined> {
    if (option === Option.ABORT) {
      await this.reply(option, OptionReply.ACK);
      return { outcome: 'abort' };
    }
    if (this.options.tls === 'require' && option !== Option.STARTTLS) {
      return this.refuse(option, OptionReply.ERR_TLS_REQD, 'this server requires TLS');
    }
    switch (option) {
      case Option.EXPORT_NAME:
        return this.exportName(payload);
      case Option.LIST:
        return this.list(payload);
      case Option.STARTTLS:
        return this.startTls(payload);
      case Option.INFO:
      case Option.GO:
        return this.infoOrGo(option, payload);
      case Option.STRUCTURED_REPLY:
      case Option.EXTENDED_HEADERS:
        return this.chooseStyle(option, payload);
      case Option.LIST_META_CONTEXT:
      case Option.SET_META_CONTEXT:
        return this.metaContext(option, payload);
      default:
        return this.refuse(option, OptionReply.ERR_UNSUP, `${nameOfOption(option)} is not supported`);
    }
  }

  private async exportName(payload: Buffer): Promise<HandshakeResult> {
    const { name, device } = await this.handle.open(codec.decodeExportName(payload));
    const { sizeBytes, readOnly } = device.info();
    const noZeroes = (this.clientFlags & HandshakeFlag.NO_ZEROES) !== 0;
    const flags = transmissionFlags(readOnly, this.style);
    this.stream.write(codec.encodeExportNameReply(sizeBytes, flags, noZeroes));
    return this.transmission(name);
  }

  private async list(payload: Buffer): Promise<undefined> {
    mustBeEmpty(payload);
    const names = await this.options.provider.list();
    const replies = names.map((name) => {
      const bytes = Buffer.from(name);
      const body = codec.encodeNumberAndText(bytes.length, bytes);
      return codec.encodeOptionReply(Option.LIST, OptionReply.SERVER, body);
    });
    replies.push(codec.encodeOptionReply(Option.LIST, OptionReply.ACK));
    this.stream.write(Buffer.concat(replies));
  }

  private async startTls(payload: Buffer): Promise<HandshakeResult | undefined> {
    mustBeEmpty(payload);
    if (this.options.tls === 'off') {
      return this.refuse(Option.STARTTLS, OptionReply.ERR_POLICY, 'TLS is not configured');
    }
    if (this.options.tls === 'active') {
      return this.refuse(Option.STARTTLS, OptionReply.ERR_INVALID, 'TLS is in use already');
    }
    await this.reply(Option.STARTTLS, OptionReply.ACK);
    return { outcome: 'tls' };
  }

  private async infoOrGo(option: number, payload: Buffer): Promise<HandshakeResult | undefined> {
    const { limits } = this.options;
    const request = codec.decodeGo(payload);
    const { name, device } = await this.handle.open(request.name);
    const { sizeBytes, readOnly } = device.info();
    const infos = [codec.encodeInfoExport(sizeBytes, transmissionFlags(readOnly, this.style))];
    if (request.infoTypes.includes(InfoType.NAME)) infos.push(codec.encodeInfoName(name));
    if (request.infoTypes.includes(InfoType.BLOCK_SIZE)) {
      infos.push(codec.encodeInfoBlockSize(1, preferredBlockBytes(device), limits.payloadBytesMax));
    }
    const replies = infos.map((info) => codec.encodeOptionReply(option, OptionReply.INFO, info));
    replies.push(codec.encodeOptionReply(option, OptionReply.ACK));
    this.stream.write(Buffer.concat(replies));
    return option === Option.GO ? this.transmission(name) : undefined;
  }

  private async chooseStyle(option: number, payload: Buffer): Promise<undefined> {
    mustBeEmpty(payload);
    const wanted = option === Option.EXTENDED_HEADERS ? 'extended' : 'structured';
    if (this.style === wanted) throw new codec.BadOption(`${nameOfOption(option)} is negotiated already`);
    if (this.style === 'extended') {
      return this.refuse(option, OptionReply.ERR_EXT_HEADER_REQD, 'extended headers are negotiated already');
    }
    this.style = wanted;
    await this.reply(option, OptionReply.ACK);
  }

  private async metaContext(option: number, payload: Buffer): Promise<undefined> {
    const set = option === Option.SET_META_CONTEXT;
    // A SET that fails leaves no context selected, whatever an earlier one chose.
    if (set) this.contextExport = undefined;
    if (set && this.style === 'simple') throw new codec.BadOption('structured replies come first');
    const request = codec.decodeMetaContext(payload);
    const { name } = await this.handle.open(request.name);
    if (matchesAllocation(request.queries, set)) {
      if (set) this.contextExport = name;
      const body = codec.encodeNumberAndText(set ? BASE_ALLOCATION_ID : 0, Buffer.from(BASE_ALLOCATION));
      this.stream.write(codec.encodeOptionReply(option, OptionReply.META_CONTEXT, body));
    }
    await this.reply(option, OptionReply.ACK);
  }

  private transmission(name: string): HandshakeResult {
    const device = this.handle.take();
    if (device === undefined) throw new ConnectionEnded('no device');
    const allocationContext = this.contextExport === name;
    return { outcome: 'transmission', device, name, style: this.style, allocationContext };
  }

  private async reply(option: number, reply: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.stream.write(codec.encodeOptionReply(option, reply), (error) =>
        error ? reject(new ConnectionEnded('write failed', { cause: error })) : resolve(),
      );
    });
  }

  private async refuse(option: number, reply: number, message: string): Promise<undefined> {
    this.stream.write(codec.encodeOptionReply(option, reply, message));
  }

  private async refuseExport(option: number, error: AppError): Promise<undefined> {
    // A gateway on its way down hangs up: QEMU takes an answer for final, a broken connection for a retry.
    if (error.code === 'shutdown') throw new ConnectionEnded('shutting down');
    this.options.log.info({ err: error, option: nameOfOption(option) }, 'export refused');
    const unknown = error.code === 'no-vdi' || error.code === 'no-tag';
    const reply = unknown ? OptionReply.ERR_UNKNOWN : OptionReply.ERR_POLICY;
    return this.refuse(option, reply, error.message.slice(0, 1024));
  }

  private drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.stream.off('drain', settle);
        this.stream.off('close', settle);
        if (this.stream.destroyed) reject(new ConnectionEnded('the client went away'));
        else resolve();
      };
      this.stream.on('drain', settle);
      this.stream.on('close', settle);
    });
  }
}

function mustBeEmpty(payload: Buffer): void {
  if (payload.length > 0) throw new codec.BadOption('this option takes no payload');
}

/** SET selects exact names only; LIST also answers a namespace (`base:`) and no query at all. */
function matchesAllocation(queries: readonly string[], set: boolean): boolean {
  if (queries.includes(BASE_ALLOCATION)) return true;
  return !set && (queries.length === 0 || queries.includes('base:'));
}

function asEnd(error: unknown): Error {
  return error instanceof Error
    ? new ConnectionEnded(error.message, { cause: error })
    : new ConnectionEnded('failed');
}
