import type { Socket } from 'node:net';
import type { Logger } from '../../src/base/log.js';
import { encodeError, LibvirtError, toLibvirtError } from '../rpc/errors.js';
import {
  KEEPALIVE_PROGRAM,
  type Message,
  MessageStatus,
  MessageType,
  PROTOCOL_VERSION,
  REMOTE_PROGRAM,
  remoteHeader,
} from '../rpc/message.js';
import {
  PROCEDURE_MAX,
  type Procedure,
  type ProcedureName,
  procedureNamed,
  procedures,
} from '../rpc/procedures.js';
import { decode, encode } from '../rpc/shapes.js';
import { XdrError } from '../rpc/xdr.js';
import type { Call, Services } from './calls.js';
import { connectCalls } from './connect-calls.js';
import { Keepalive } from './keepalive.js';
import type { Passage } from './passage.js';
import { poolCalls } from './pool-calls.js';
import { type ReceiveBudget, RpcSocket } from './rpc-socket.js';
import { Subscriptions } from './subscriptions.js';
import { type Transfer, TransferChannel } from './transfer.js';
import { volumeCalls } from './volume-calls.js';

/** Calls of one client that are worked on at a time; more are not read before. */
const CALLS_AT_ONCE_MAX = 16;
/** Transfers of one client at a time. */
const TRANSFERS_MAX = 16;
/** Packets of all uploads of one client that wait to be written. */
const BACKLOG_BYTES_MAX = 4 * 1024 * 1024;

/** What a client may ask before it has opened the connection. */
const beforeOpen: ReadonlySet<ProcedureName> = new Set<ProcedureName>([
  'authList',
  'connectOpen',
  'connectClose',
  'connectSupportsFeature',
]);

const handlers = { ...connectCalls, ...poolCalls, ...volumeCalls };
type AnyHandler = (args: unknown, call: Call) => unknown;
type AnyProcedure = Procedure<unknown, unknown>;

export interface SessionOptions {
  readonly services: Services;
  readonly budget: ReceiveBudget;
  /** Whatever the client says when it opens. */
  readonly readOnly: boolean;
  readonly log: Logger;
  /** The way to another storage daemon for pools that are not ours, when there is one. */
  readonly passageFor?: (session: Session) => Passage;
  readonly onEnd: () => void;
}

/** One client: its handshake, its calls, its transfers, its events. */
export class Session {
  readonly socket: RpcSocket;
  readonly keepalive: Keepalive;
  readonly subscriptions: Subscriptions;
  readonly passage: Passage | undefined;
  uri = '';
  private opened = false;
  private readOnly: boolean;
  private callsUnderWay = 0;
  private readonly transfers = new Map<number, Transfer>();
  private closing = false;

  constructor(
    socket: Socket,
    private readonly options: SessionOptions,
  ) {
    this.readOnly = options.readOnly;
    this.socket = new RpcSocket(socket, options.budget, {
      onMessage: (message) => this.onMessage(message),
      onClose: (reason) => this.onClose(reason),
    });
    this.keepalive = new Keepalive(this.socket, options.services.clock);
    this.subscriptions = new Subscriptions(options.services.registry, this.socket);
    this.passage = options.passageFor?.(this);
  }

  get isOpen(): boolean {
    return this.opened;
  }

  get isReadOnly(): boolean {
    return this.readOnly;
  }

  open(uri: string, readOnly: boolean): void {
    this.opened = true;
    this.uri = uri;
    this.readOnly ||= readOnly;
  }

  closeAfterReply(): void {
    this.closing = true;
  }

  /** Sends nothing more and drops the client. */
  drop(reason: string): void {
    this.socket.close(reason);
  }

  private onMessage(message: Message): void {
    if (message.program === KEEPALIVE_PROGRAM) this.keepalive.onMessage(message);
    else if (message.type === MessageType.stream || message.type === MessageType.streamHole) {
      this.onPacket(message);
    } else if (message.type === MessageType.call || message.type === MessageType.callWithFds) {
      void this.onCall(message);
    } else this.socket.close(`unexpected message type ${message.type}`);
  }

  /** Packets of a transfer that has ended may still be on their way: they are nobody's. */
  private onPacket(packet: Message): void {
    const transfer = this.transfers.get(packet.serial);
    if (transfer !== undefined) transfer.onPacket(packet);
    else this.passage?.onPacket(packet);
    this.regulate();
  }

  private async onCall(message: Message): Promise<void> {
    this.callsUnderWay++;
    this.regulate();
    const begin: { transfer?: (channel: TransferChannel) => Transfer } = {};
    try {
      const body = await this.answer(message, begin);
      if (body !== undefined) this.reply(message, MessageStatus.ok, body);
      if (begin.transfer !== undefined) this.beginTransfer(message, begin.transfer);
    } catch (error) {
      this.reply(message, MessageStatus.error, encodeError(this.refusal(message, error)));
    } finally {
      this.callsUnderWay--;
      this.regulate();
    }
    if (this.closing && this.callsUnderWay === 0) this.socket.end();
  }

  /** The body of the reply; undefined when another daemon's reply was passed on. */
  private async answer(
    message: Message,
    begin: { transfer?: (channel: TransferChannel) => Transfer },
  ): Promise<Buffer | undefined> {
    const name = this.checkCall(message);
    if (name === undefined) return this.passUnknown(message);
    const procedure: AnyProcedure = procedures[name];
    this.checkAllowed(name, procedure);
    const args = decodeArguments(procedure, message.body);
    const call: Call = {
      services: this.options.services,
      session: this,
      transfer: (run) => {
        this.checkTransfer(message.serial);
        begin.transfer = run;
      },
    };
    const local = async () => (handlers[name] as AnyHandler)(args, call);
    const passage = procedure.route === 'here' && name !== 'connectSetIdentity' ? undefined : this.passage;
    const answered =
      passage === undefined ? { result: await local() } : await passage.route(name, args, message, local);
    return 'raw' in answered ? undefined : encode(procedure.result, answered.result);
  }

  /** The name of the procedure, undefined for one of another driver. Throws LibvirtError 'rpc'. */
  private checkCall(message: Message): ProcedureName | undefined {
    const { program, version, procedure, status, type } = message;
    if (program !== REMOTE_PROGRAM || version !== PROTOCOL_VERSION) {
      throw new LibvirtError('rpc', `Cannot find program ${program} version ${version}`);
    }
    if (status !== MessageStatus.ok) throw new LibvirtError('rpc', `Unexpected message status ${status}`);
    if (type === MessageType.callWithFds) throw new LibvirtError('rpc', 'no file descriptor is expected');
    const name = procedureNamed(procedure);
    if (name === undefined && (procedure < 1 || procedure > PROCEDURE_MAX)) {
      throw new LibvirtError('rpc', `unknown procedure: ${procedure}`);
    }
    return name;
  }

  private checkAllowed(name: ProcedureName, { changes }: AnyProcedure): void {
    if (this.closing) throw new LibvirtError('internal', 'connection is being closed');
    if (!this.opened && !beforeOpen.has(name)) throw new LibvirtError('internal', 'connection not open');
    if (changes !== undefined && this.readOnly) throw new LibvirtError('operation-denied', changes);
  }

  /** A function of libvirt that no storage driver has, or that another storage daemon may know. */
  private async passUnknown(message: Message): Promise<undefined> {
    if (!this.opened) throw new LibvirtError('internal', 'connection not open');
    if (this.passage === undefined || this.readOnly) {
      throw new LibvirtError('no-support', `procedure ${message.procedure}`);
    }
    await this.passage.pass(message);
    return undefined;
  }

  private checkTransfer(serial: number): void {
    if (this.transfers.has(serial)) throw new LibvirtError('rpc', `serial ${serial} is in use by a stream`);
    if (this.transfers.size >= TRANSFERS_MAX) {
      throw new LibvirtError('operation-failed', `a client may have ${TRANSFERS_MAX} streams at a time`);
    }
  }

  private beginTransfer({ procedure, serial }: Message, begin: (channel: TransferChannel) => Transfer): void {
    const onEnd = () => {
      this.transfers.delete(serial);
      this.regulate();
    };
    const channel = new TransferChannel(this.socket, procedure, serial, onEnd, () => this.regulate());
    if (this.transfers.has(serial)) {
      this.socket.close(`two streams of serial ${serial}`);
      return;
    }
    const transfer = begin(channel);
    this.transfers.set(serial, transfer);
    if (!this.socket.isOpen) transfer.abandon();
  }

  private reply({ procedure, serial }: Message, status: number, body: Buffer): void {
    this.socket.send(remoteHeader({ procedure, type: MessageType.reply, serial, status }), body);
  }

  private refusal(message: Message, error: unknown): LibvirtError {
    const refusal = toLibvirtError(error);
    const { log } = this.options;
    const fields = { procedure: message.procedure, err: refusal.message };
    if (refusal.kind === 'internal' && refusal.cause !== undefined) {
      log.warn({ ...fields, stack: (refusal.cause as Error).stack }, 'call failed');
    } else log.debug(fields, 'call refused');
    return refusal;
  }

  /** Reads on only while what was read is being worked off. */
  private regulate(): void {
    let backlog = 0;
    for (const transfer of this.transfers.values()) backlog += transfer.backlogBytes;
    const isFull =
      this.callsUnderWay >= CALLS_AT_ONCE_MAX ||
      backlog > BACKLOG_BYTES_MAX ||
      (this.passage?.congested ?? false);
    this.socket.pause(isFull);
  }

  /** Called when the other daemon takes packets again. */
  onPassageDrained(): void {
    this.regulate();
  }

  private onClose(reason: string | undefined): void {
    this.keepalive.stop();
    this.subscriptions.close();
    for (const transfer of [...this.transfers.values()]) transfer.abandon();
    this.passage?.close();
    const { log, onEnd } = this.options;
    if (reason === undefined) log.debug({}, 'client is gone');
    else log.info({ reason }, 'client was dropped');
    onEnd();
  }
}

function decodeArguments(procedure: AnyProcedure, body: Buffer): unknown {
  try {
    return decode(procedure.args, body);
  } catch (error) {
    if (!(error instanceof XdrError)) throw error;
    throw new LibvirtError('rpc', `Unable to decode message payload: ${error.message}`, { cause: error });
  }
}
