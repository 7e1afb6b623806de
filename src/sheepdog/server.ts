import type { Duplex } from 'node:stream';
import { ByteBudget } from '../base/byte-budget.js';
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import {
  Flag,
  Op,
  type Operation as OpcodeInfo,
  operationOf,
  Result,
  versionAccepted,
} from '../wire/sheepdog.js';
import { ANSWER_BYTES_MAX } from './admin/answers.js';
import { Connection, type ConnectionLimits, connectionLimits, type RequestHead } from './connection.js';
import type { Client, Operation, Operations } from './operation.js';

/** Largest payload of object I/O, and largest answer to a read. One object has 4 MiB unless its volume says more. */
export const OBJECT_PAYLOAD_BYTES_MAX = 128 * 1024 * 1024;
/** Of everything else: an attribute (66 320 bytes) and one call of `dog` with its data are the largest. */
export const OTHER_PAYLOAD_BYTES_MAX = 8 * 1024 * 1024;
/** Bytes of payloads and answers that all connections together may hold. */
const BUDGET_BYTES = 256 * 1024 * 1024;
/** Who holds some of them and moves nothing for so long, while others wait, is dropped. */
const STALL_MS = 3000;
const STALL_LOOK_MS = 500;

/** proto_ver of CONTROL requests, though their opcode lies in the range of sheep operations. */
const CONTROL_VERSION = 2;
/** Of these the client chooses the answer's size, up to ANSWER_BYTES_MAX. */
const LONG_ANSWERS: ReadonlySet<number> = new Set([
  Op.STAT_CLUSTER,
  Op.GET_VDI_COPIES,
  Op.GET_OBJ_LIST,
  Op.READ_PEER,
]);
/** Of others: a bitmap of vids is the largest. */
const OTHER_ANSWER_BYTES_MAX = 2 * 1024 * 1024;

export interface SheepdogServerOptions extends Partial<ConnectionLimits> {
  readonly log: Logger;
  readonly clock: Clock;
  readonly epoch: () => number;
  /** What is served now; depends on whether the cluster is formatted. */
  readonly operations: () => Operations;
  /** The result code for requests other than those that are always served: cluster not formatted, stopping. */
  readonly gate: () => number | undefined;
  readonly budgetBytes?: number;
  /** Instead of OTHER_PAYLOAD_BYTES_MAX. */
  readonly otherPayloadBytesMax?: number;
}

/** All connections of the sheepdog port: `dog`, QEMU's own driver, tgt, tools of the original. */
export class SheepdogServer {
  private readonly connections = new Set<Connection>();
  private readonly budget: ByteBudget;
  private watching = false;
  private closed = false;

  constructor(private readonly options: SheepdogServerOptions) {
    this.budget = new ByteBudget(options.budgetBytes ?? BUDGET_BYTES, () => this.watchStalled());
  }

  /** The connection exists from its first moment on, before it is known to be one of ours. */
  accept(socket: Duplex, address: string): Connection {
    const { log, clock, epoch, inFlightMax, drainBytesMax } = { ...connectionLimits, ...this.options };
    const connection = new Connection(socket, address, {
      log,
      clock,
      epoch,
      inFlightMax,
      drainBytesMax,
      budget: this.budget,
      operationOf: (head) => this.operationOf(head),
      costOf,
    });
    this.connections.add(connection);
    connection.onClose(() => this.connections.delete(connection));
    return connection;
  }

  /** Connections from this address that have not said anything yet. */
  silentFrom(address: string): Client[] {
    return [...this.connections].filter((c) => c.silent && c.address === address);
  }

  /** It turned out to be another sheep. */
  forget(connection: Connection): void {
    this.connections.delete(connection);
  }

  get size(): number {
    return this.connections.size;
  }

  /** Answers what is at work and ends. */
  close(): void {
    this.closed = true;
    for (const connection of [...this.connections]) connection.finish();
  }

  /** In the original's order of checks (reference, section 1.8). */
  private operationOf(head: RequestHead): Operation | number {
    const { opcode, version, flags } = head;
    const control = opcode === Op.CONTROL;
    if (control ? version !== CONTROL_VERSION : !versionAccepted(opcode, version)) return Result.VER_MISMATCH;
    const info = operationOf(opcode);
    if (info === undefined || info.class === 'gone') return Result.INVALID_PARMS;
    const gate = info.force ? undefined : this.options.gate();
    if (gate !== undefined) return gate;
    const operation = this.options.operations().get(opcode);
    if (operation === undefined) return Result.NO_SUPPORT;
    if ((flags & Flag.WRITE) !== 0) {
      return head.dataLength <= this.payloadBytesMax(info) ? operation : Result.INVALID_PARMS;
    }
    if (control) return Result.INVALID_PARMS;
    const tooLong = opcode === Op.READ_OBJ && head.dataLength > OBJECT_PAYLOAD_BYTES_MAX;
    return tooLong ? Result.INVALID_PARMS : operation;
  }

  private payloadBytesMax(info: OpcodeInfo): number {
    if (info.class === 'gateway') return OBJECT_PAYLOAD_BYTES_MAX;
    return this.options.otherPayloadBytesMax ?? OTHER_PAYLOAD_BYTES_MAX;
  }

  /** Somebody begins to wait for bytes: from now on who keeps them without need is looked for. */
  private watchStalled(): void {
    if (this.watching || this.closed) return;
    this.watching = true;
    const nowMs = this.options.clock.nowMs();
    for (const connection of this.connections) connection.watchStall(nowMs);
    this.lookLater();
  }

  private lookLater(): void {
    const { clock } = this.options;
    clock.after(STALL_LOOK_MS, () => {
      this.watching = this.budget.pressed && !this.closed;
      if (!this.watching) return;
      const nowMs = clock.nowMs();
      for (const connection of [...this.connections]) {
        if (connection.stalledMs(nowMs) >= STALL_MS) connection.drop('stalled while others wait');
      }
      this.lookLater();
    });
  }
}

/** Bytes that a request holds while it is at work: its payload, or the longest answer to it. */
function costOf({ opcode, flags, dataLength }: RequestHead): number {
  if ((flags & Flag.WRITE) !== 0 || opcode === Op.READ_OBJ) return dataLength;
  return Math.min(dataLength, LONG_ANSWERS.has(opcode) ? ANSWER_BYTES_MAX : OTHER_ANSWER_BYTES_MAX);
}
