import type { ContentWriter, Piece } from '../pools/content.js';
import { encodeError, type LibvirtError, toLibvirtError } from '../rpc/errors.js';
import {
  type Message,
  MessageStatus,
  MessageType,
  remoteHeader,
  STREAM_PAYLOAD_BYTES_MAX,
} from '../rpc/message.js';
import { streamHole } from '../rpc/procedures.js';
import { decode, encode } from '../rpc/shapes.js';
import type { RpcSocket } from './rpc-socket.js';

const NO_BODY = Buffer.alloc(0);

/** What goes on under the serial of a call after its reply. */
export interface Transfer {
  /** A packet of the client. */
  onPacket(packet: Message): void;
  /** Packets that wait to be worked off: too many, and nothing more is read. */
  readonly backlogBytes: number;
  /** The client is gone. */
  abandon(): void;
}

/** Where packets of one transfer go, and how it ends. */
export class TransferChannel {
  private readonly endings: (() => void)[];

  constructor(
    readonly socket: RpcSocket,
    private readonly procedure: number,
    private readonly serial: number,
    onEnd: () => void,
    /** Called when the backlog became smaller. */
    readonly onProgress: () => void,
  ) {
    this.endings = [onEnd];
  }

  /** Called once when the transfer is over. */
  atEnd(run: () => void): void {
    this.endings.push(run);
  }

  send(type: number, status: number, body: Buffer): void {
    const { procedure, serial } = this;
    this.socket.send(remoteHeader({ procedure, type, serial, status }), body);
  }

  data(bytes: Buffer): void {
    this.send(MessageType.stream, MessageStatus.continue, bytes);
  }

  hole(lengthBytes: number): void {
    const body = encode(streamHole, { lengthBytes: BigInt(lengthBytes), flags: 0 });
    this.send(MessageType.streamHole, MessageStatus.continue, body);
  }

  /** Tells the client that everything is done, or that giving up was noticed. */
  confirm(): void {
    this.end();
    this.send(MessageType.stream, MessageStatus.ok, NO_BODY);
  }

  fail(error: LibvirtError): void {
    this.end();
    this.send(MessageType.stream, MessageStatus.error, encodeError(error));
  }

  end(): void {
    for (const run of this.endings.splice(0)) run();
  }
}

/** Sends a volume's content in packets that every client takes, as fast as the client reads. */
export class Download implements Transfer {
  readonly backlogBytes = 0;
  private over = false;

  constructor(
    private readonly channel: TransferChannel,
    content: AsyncIterable<Piece>,
  ) {
    this.run(content).catch((error: unknown) => {
      if (!this.over) this.finish(() => this.channel.fail(toLibvirtError(error)));
    });
  }

  /** The client has got what it wants, or gives up; either way it is told that this is known. */
  onPacket({ status }: Message): void {
    if (status !== MessageStatus.continue) this.finish(() => this.channel.confirm());
  }

  abandon(): void {
    this.finish(() => this.channel.end());
  }

  private async run(content: AsyncIterable<Piece>): Promise<void> {
    for await (const piece of content) {
      if (this.over) return;
      if ('holeBytes' in piece) this.channel.hole(piece.holeBytes);
      else await this.sendData(piece.data);
      if (this.over) return;
    }
    // An empty packet says that there is no more; the client answers with the end of the stream.
    this.channel.data(NO_BODY);
  }

  private async sendData(data: Buffer): Promise<void> {
    for (let at = 0; at < data.length && !this.over; at += STREAM_PAYLOAD_BYTES_MAX) {
      this.channel.data(data.subarray(at, at + STREAM_PAYLOAD_BYTES_MAX));
      if (this.channel.socket.congested) await this.channel.socket.drained();
    }
  }

  private finish(tell: () => void): void {
    if (this.over) return;
    this.over = true;
    tell();
  }
}

/** Takes a volume's content from a client, one packet after the other. */
export class Upload implements Transfer {
  backlogBytes = 0;
  private over = false;
  private work: Promise<void> = Promise.resolve();

  constructor(
    private readonly channel: TransferChannel,
    private readonly writer: ContentWriter,
    private readonly sparse: boolean,
  ) {}

  onPacket(packet: Message): void {
    if (this.over) return;
    const bytes = packet.body.length;
    this.backlogBytes += bytes;
    this.work = this.work
      .then(() => (this.over ? undefined : this.take(packet)))
      .catch((error: unknown) => this.fail(error))
      .then(() => {
        this.backlogBytes -= bytes;
        this.channel.onProgress();
      });
  }

  /** What arrived stays written; nothing that is under way may touch the volume later than this says. */
  abandon(): void {
    if (this.over) return;
    this.over = true;
    void this.work.then(() => this.writer.abort()).finally(() => this.channel.end());
  }

  private async take(packet: Message): Promise<void> {
    if (packet.status === MessageStatus.error) {
      await this.writer.abort();
      this.end(() => this.channel.confirm());
    } else if (packet.status === MessageStatus.ok) {
      await this.writer.finish();
      this.end(() => this.channel.confirm());
    } else if (packet.type === MessageType.streamHole) await this.takeHole(packet.body);
    else await this.writer.write(packet.body);
  }

  private async takeHole(body: Buffer): Promise<void> {
    const { lengthBytes } = decode(streamHole, body);
    if (!this.sparse) throw new Error('a hole in a stream that was not announced as sparse');
    if (lengthBytes < 0n || lengthBytes > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new Error(`a hole of ${lengthBytes} bytes`);
    }
    await this.writer.hole(Number(lengthBytes));
  }

  private async fail(error: unknown): Promise<void> {
    if (this.over) return;
    await this.writer.abort();
    this.end(() => this.channel.fail(toLibvirtError(error)));
  }

  private end(tell: () => void): void {
    if (this.over) return;
    this.over = true;
    tell();
  }
}
