/** A client of libvirt's RPC that can also say what no client should. */
import { connect, type Socket } from 'node:net';
import { errorShape, type WireError } from '../../pool-backend/rpc/errors.js';
import {
  encodeMessage,
  type Message,
  type MessageHeader,
  MessageStatus,
  MessageType,
  remoteHeader,
} from '../../pool-backend/rpc/message.js';
import { MessageParser } from '../../pool-backend/rpc/message-parser.js';
import {
  type ArgsOf,
  type Procedure,
  type ProcedureName,
  procedures,
  type ResultOf,
} from '../../pool-backend/rpc/procedures.js';
import { decode, encode } from '../../pool-backend/rpc/shapes.js';

const ANSWER_DEADLINE_MS = 20_000;

/** A reply of status error. */
export class Refused extends Error {
  constructor(readonly wire: WireError) {
    super(`${wire.code}: ${wire.message}`);
  }
}

export class LibvirtClient {
  private readonly parser = new MessageParser();
  private readonly messages: Message[] = [];
  private waiting: (() => void) | undefined;
  private nextSerial = 1;
  closed = false;

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.parser.push(chunk);
      for (let message = this.parser.next(); message !== undefined; message = this.parser.next()) {
        this.messages.push(message);
      }
      this.waiting?.();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.waiting?.();
    });
  }

  static connect(path: string): Promise<LibvirtClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject).once('connect', () => resolve(new LibvirtClient(socket)));
    });
  }

  /** Connected and opened. */
  static async open(path: string, flags = 0): Promise<LibvirtClient> {
    const client = await LibvirtClient.connect(path);
    await client.call('authList', undefined);
    await client.call('connectOpen', { name: 'storage:///system', flags });
    return client;
  }

  /** Rejects with Refused, or when the connection ends first. */
  async call<N extends ProcedureName>(name: N, args: ArgsOf<N>): Promise<ResultOf<N>> {
    const { result } = procedures[name] as unknown as Procedure<ArgsOf<N>, ResultOf<N>>;
    return decode(result, (await this.reply(this.begin(name, args))).body);
  }

  /** Sends a call and does not wait; resolves with its serial. */
  begin<N extends ProcedureName>(name: N, args: ArgsOf<N>): number {
    const procedure = procedures[name] as unknown as Procedure<ArgsOf<N>, ResultOf<N>>;
    const serial = this.nextSerial++;
    const fields = { procedure: procedure.number, type: MessageType.call, serial, status: MessageStatus.ok };
    this.send(remoteHeader(fields), encode(procedure.args, args));
    return serial;
  }

  send(header: MessageHeader, body: Buffer): void {
    this.socket.write(encodeMessage({ ...header, body }));
  }

  /** The reply to a call. Rejects with Refused. */
  async reply(serial: number): Promise<Message> {
    const message = await this.take(
      (each) => each.type === MessageType.reply && each.serial === serial,
      `reply ${serial}`,
    );
    if (message.status === MessageStatus.error) throw new Refused(decode(errorShape, message.body));
    return message;
  }

  /** The next message that fits, out of order with others. */
  async take(fits: (message: Message) => boolean, what: string): Promise<Message> {
    const endMs = performance.now() + ANSWER_DEADLINE_MS;
    for (;;) {
      const at = this.messages.findIndex(fits);
      if (at >= 0) return this.messages.splice(at, 1)[0]!;
      if (this.closed) throw new Error(`the connection ended before ${what}`);
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) throw new Error(`no ${what} after ${ANSWER_DEADLINE_MS} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.waiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** A packet of the stream that began with that call. */
  packet(name: ProcedureName, serial: number, body: Buffer, status: number = MessageStatus.continue): void {
    const fields = { procedure: procedures[name].number, type: MessageType.stream, serial, status };
    this.send(remoteHeader(fields), body);
  }

  nextPacket(serial: number): Promise<Message> {
    return this.take(
      (each) =>
        each.serial === serial && (each.type === MessageType.stream || each.type === MessageType.streamHole),
      `packet of stream ${serial}`,
    );
  }

  async ended(): Promise<void> {
    await this.take(() => false, 'end').catch((error: Error) => {
      if (!this.closed) throw error;
    });
  }

  close(): void {
    this.socket.destroy();
  }
}
