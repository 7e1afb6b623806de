import { connect } from 'node:net';
import type { Logger } from '../../src/base/log.js';
import { errorShape, LibvirtError, type WireError } from '../rpc/errors.js';
import { type Message, MessageStatus, MessageType, REMOTE_PROGRAM, remoteHeader } from '../rpc/message.js';
import {
  type ArgsOf,
  type Procedure,
  type ProcedureName,
  procedures,
  type ResultOf,
} from '../rpc/procedures.js';
import { decode, encode } from '../rpc/shapes.js';
import { type ReceiveBudget, RpcSocket } from './rpc-socket.js';

/** The other daemon refused a call that was made for ourselves. */
export class UpstreamRefusal extends Error {
  override readonly name = 'UpstreamRefusal';

  constructor(readonly wire: WireError) {
    super(wire.message ?? `error ${wire.code}`);
  }
}

export interface UpstreamEvents {
  /** Events, and packets of streams: whatever is no reply. */
  onMessage(message: Message): void;
  onClose(): void;
}

const CONNECT_TIMEOUT_MS = 5000;
/** Clients count their serials from 1 on: our own do not meet them within 2,147,483,648 calls. */
const FIRST_OWN_SERIAL = 0x80000000;

/** One connection to the storage daemon of libvirt itself, for one client of ours. */
export class Upstream {
  private readonly waiting = new Map<number, (reply: Message | undefined) => void>();
  private nextSerial = FIRST_OWN_SERIAL;
  readonly socket: RpcSocket;

  private constructor(
    raw: ReturnType<typeof connect>,
    private readonly path: string,
    budget: ReceiveBudget,
    private readonly events: UpstreamEvents,
    log: Logger,
  ) {
    this.socket = new RpcSocket(raw, budget, {
      onMessage: (message) => this.onMessage(message),
      onClose: (reason) => {
        if (reason !== undefined) log.warn({ reason }, 'connection to the other daemon dropped');
        for (const settle of this.waiting.values()) settle(undefined);
        this.waiting.clear();
        events.onClose();
      },
    });
  }

  /** Connects and opens `uri`. Rejects with LibvirtError 'operation-failed', or UpstreamRefusal. */
  static async open(
    path: string,
    open: { uri: string; readOnly: boolean },
    budget: ReceiveBudget,
    events: UpstreamEvents,
    log: Logger,
  ): Promise<Upstream> {
    const upstream = new Upstream(await connected(path), path, budget, events, log);
    try {
      await upstream.ask('authList', undefined);
      await upstream.ask('connectOpen', { name: open.uri, flags: open.readOnly ? 1 : 0 });
      return upstream;
    } catch (error) {
      upstream.socket.close('it could not be opened');
      throw error;
    }
  }

  /** A call of our own. Rejects with UpstreamRefusal, or LibvirtError when the connection is lost. */
  async ask<N extends ProcedureName>(name: N, args: ArgsOf<N>): Promise<ResultOf<N>> {
    const procedure = procedures[name] as unknown as Procedure<ArgsOf<N>, ResultOf<N>>;
    const serial = this.nextSerial;
    this.nextSerial = serial === 0xffffffff ? FIRST_OWN_SERIAL : serial + 1;
    const header = remoteHeader({
      procedure: procedure.number,
      type: MessageType.call,
      serial,
      status: MessageStatus.ok,
    });
    const reply = await this.exchange({ ...header, body: encode(procedure.args, args) });
    if (reply.status === MessageStatus.error) throw new UpstreamRefusal(decode(errorShape, reply.body));
    return decode(procedure.result, reply.body);
  }

  /** A client's call as it came; `onReply` gets the answer as it comes. */
  async pass(message: Message, onReply: (reply: Message) => void): Promise<void> {
    await this.exchange(message, onReply);
  }

  private exchange(message: Message, onReply?: (reply: Message) => void): Promise<Message> {
    return new Promise((resolve, reject) => {
      if (!this.socket.isOpen || this.waiting.has(message.serial)) {
        reject(this.lost());
        return;
      }
      this.waiting.set(message.serial, (reply) => {
        if (reply === undefined) reject(this.lost());
        else {
          // Before the next message is looked at: packets of a stream may follow at once.
          onReply?.(reply);
          resolve(reply);
        }
      });
      this.socket.send(message, message.body);
    });
  }

  private lost(): LibvirtError {
    return new LibvirtError('operation-failed', `connection to the storage daemon at ${this.path} is lost`);
  }

  private onMessage(message: Message): void {
    if (message.program !== REMOTE_PROGRAM) return;
    if (message.type !== MessageType.reply) {
      this.events.onMessage(message);
      return;
    }
    const settle = this.waiting.get(message.serial);
    this.waiting.delete(message.serial);
    settle?.(message);
  }
}

function connected(path: string): Promise<ReturnType<typeof connect>> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const timer = setTimeout(() => socket.destroy(new Error('no answer')), CONNECT_TIMEOUT_MS);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', (error) => {
      clearTimeout(timer);
      const detail = `the storage daemon at ${path} cannot be reached: ${error.message}`;
      reject(new LibvirtError('operation-failed', detail, { cause: error }));
    });
  });
}
