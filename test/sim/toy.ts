/**
 * A toy cluster that proves the simulator itself: node 0 keeps the only copy of one volume in memory that outlives
 * its process, every other node is a gateway to it over the simulated network. It is simple and right, and each of
 * its mutants is wrong in a way that the model must notice.
 */
import { AppError } from '../../src/base/errors.js';
import type { ControlHandler } from '../../src/control/api.js';
import type { Channel } from '../../src/net/transport.js';
import type { BlockDevice, Extent } from '../../src/volume/device.js';
import { type PeerMessage, PeerType } from '../../src/wire/peer-message.js';
import type { CrashableDisk } from '../helpers/sim-disk.js';
import type { ClusterKind, NodeEnvironment, SimNode } from '../helpers/sim-kind.js';
import type { VolumeChange } from '../helpers/sim-volumes.js';
import { SECTOR_BYTES } from './pattern.js';

export const toyMutants = [
  'ackEarly',
  'noDedupe',
  'cacheReads',
  'skipSync',
  'tornWrites',
  'lateSnapshot',
  'misplace',
  'dropDiscard',
] as const;

const NO_BYTES = new Uint8Array(0);
const SILENCE_MS = 400;

/** What outlives the process of node 0. */
class ToyMemory {
  onChange: (change: VolumeChange) => void = () => {};
  volume: Buffer = Buffer.alloc(0);
  private stable: Buffer = Buffer.alloc(0);
  private readonly dirty = new Set<number>();
  readonly snapshots = new Map<string, Buffer>();
  /** Requests done, by session and id: a resent one must not be done twice. */
  readonly done = new Set<string>();

  create(sizeBytes: number): void {
    this.volume = Buffer.alloc(sizeBytes);
    this.stable = Buffer.alloc(sizeBytes);
  }

  store(offset: number, data: Uint8Array): void {
    this.volume.set(data, offset);
    for (let at = offset; at < offset + data.length; at += SECTOR_BYTES) this.dirty.add(at);
  }

  sync(): void {
    for (const at of this.dirty) this.volume.copy(this.stable, at, at, at + SECTOR_BYTES);
    this.dirty.clear();
  }

  crash({ powerCut, random }: Parameters<CrashableDisk['crash']>[0]): void {
    if (!powerCut) return;
    for (const at of this.dirty) {
      if (random.chance(0.5)) this.stable.copy(this.volume, at, at, at + SECTOR_BYTES);
      else this.volume.copy(this.stable, at, at, at + SECTOR_BYTES);
    }
    this.dirty.clear();
    this.done.clear();
  }
}

const memories = new WeakMap<object, ToyMemory>();

export const toyKind: ClusterKind = {
  name: 'toy',
  // What a dead gateway has sent may still arrive: the toy has no fencing.
  strictDeaths: false,
  snapshotsDurable: true,
  survivesOnePowerCut: false,
  toleratedErrors: [],
  toleratedControlErrors: [],
  toleratedStartErrors: [],
  without: [
    'settings',
    'join',
    'out',
    'weight',
    'retire',
    'loseDisk',
    'alterCopies',
    'pauseRecovery',
    'fullDisk',
    'fullDisks',
    'clone',
    'rollback',
    'deleteSnapshot',
    'create',
    'deleteVolume',
    'resize',
  ],
  makeDisk: ({ index, cluster }) => {
    const memory = new ToyMemory();
    // The environment has no room for it; the world's clock identifies the cluster for all nodes.
    if (index === 0) memories.set(cluster.clock, memory);
    return { crash: (options) => memory.crash(options), disk: neverDisk };
  },
  startNode: async (environment) => {
    const memory = memories.get(environment.clock.world)!;
    if (environment.index === 0) serve(environment, memory);
    return new ToyGateway(environment, memory);
  },
  watchVolumes: (cluster, onChange) => {
    memories.get(cluster.clock)!.onChange = onChange;
  },
};

const neverDisk = new Proxy({} as CrashableDisk['disk'], {
  get: () => () => {
    throw new Error('the toy has no disk');
  },
});

function serve(environment: NodeEnvironment, memory: ToyMemory): void {
  environment.transport.listen((channel) => {
    channel.onMessage = (message) => {
      const { ackEarly } = environment.mutants;
      const act = (): Uint8Array => execute(environment, memory, message);
      const answer = (payload: Uint8Array): void =>
        channel.send({ ...message, type: message.type + 1, payload });
      if (ackEarly && message.type === PeerType.write) {
        answer(NO_BYTES);
        environment.clock.after(environment.random.below(30), act);
      } else answer(act());
    };
  });
}

function execute(environment: NodeEnvironment, memory: ToyMemory, message: PeerMessage): Uint8Array {
  const { mutants, random } = environment;
  const { offset, length } = message;
  if (message.type === PeerType.read) return imageOf(memory, message).subarray(offset, offset + length);
  const key = `${message.oid}:${message.id}`;
  if (memory.done.has(key) && !mutants.noDedupe) return NO_BYTES;
  memory.done.add(key);
  if (message.type === PeerType.write) {
    const torn = mutants.tornWrites && random.chance(0.02);
    const data = torn ? message.payload.subarray(0, message.payload.length / 2 + 100) : message.payload;
    const shift = mutants.misplace && random.chance(0.02) && offset > 0 ? -SECTOR_BYTES : 0;
    memory.store(offset + shift, data);
  } else if (message.type === PeerType.zero) {
    if (!(mutants.dropDiscard && random.chance(0.1))) memory.store(offset, new Uint8Array(length));
  } else if (message.type === PeerType.control) control(environment, memory, message);
  const sync = message.flags !== 0 || message.type === PeerType.flush;
  if (sync && !mutants.skipSync) memory.sync();
  return NO_BYTES;
}

function imageOf(memory: ToyMemory, message: PeerMessage): Buffer {
  const tag = Buffer.from(message.payload).toString();
  return tag === '' ? memory.volume : memory.snapshots.get(tag)!;
}

function control(environment: NodeEnvironment, memory: ToyMemory, message: PeerMessage): void {
  const { name, tag, sizeBytes } = JSON.parse(Buffer.from(message.payload).toString());
  if (sizeBytes) {
    memory.create(sizeBytes);
    memory.onChange({ type: 'created', volume: name, name, sizeBytes });
    return;
  }
  memory.sync();
  memory.snapshots.set(tag, Buffer.from(memory.volume));
  memory.onChange({ type: 'snapshot', volume: name, version: tag, tag });
  if (!environment.mutants.lateSnapshot) return;
  // Half of the volume is copied a little later, when others may have written again.
  environment.clock.after(20, () => {
    const half = memory.volume.length / 2;
    memory.volume.copy(memory.snapshots.get(tag)!, half, half);
  });
}

interface Waiting {
  message: PeerMessage;
  resolve: (payload: Uint8Array) => void;
}

/** Sends each request until it is answered, again over every new channel. */
class ToyGateway implements SimNode {
  readonly control: ControlHandler;
  private channel: Channel | undefined;
  private nextId = 1;
  private lastHeardMs = 0;
  private readonly waiting = new Map<number, Waiting>();
  private readonly cache = new Map<string, Uint8Array>();

  constructor(
    private readonly environment: NodeEnvironment,
    private readonly memory: ToyMemory,
  ) {
    this.control = { call: (method, params) => this.controlCall(method, params) };
    void this.connect();
    this.watchSilence();
  }

  async openDevice(name: string): Promise<BlockDevice> {
    const [, tag = ''] = name.split('@');
    return this.device(name, tag);
  }

  health(): { allSynced: boolean } {
    return { allSynced: this.channel !== undefined };
  }

  async stop(): Promise<void> {
    await this.environment.transport.close();
  }

  private device(name: string, tag: string): BlockDevice {
    return {
      info: () => ({
        name,
        sizeBytes: this.memory.volume.length,
        readOnly: tag !== '',
        preferredBlockBytes: 512,
        objectBytes: 1 << 20,
      }),
      read: (offset, length) => this.read(tag, offset, length),
      write: async (offset, data, options) => {
        const flags = options?.fua ? 1 : 0;
        await this.request({ type: PeerType.write, offset, length: data.length, payload: data, flags });
      },
      writeZeroes: async (offset, length, options) => {
        await this.request({ type: PeerType.zero, offset, length, flags: options.fua ? 1 : 0 });
      },
      discard: async (offset, length, options) => {
        await this.request({ type: PeerType.zero, offset, length, flags: options?.fua ? 1 : 0 });
      },
      flush: async () => {
        await this.request({ type: PeerType.flush });
      },
      blockStatus: async (_offset, length): Promise<Extent[]> => [
        { lengthBytes: length, hole: false, zero: false },
      ],
      onResize: () => () => {},
      close: async () => {},
    };
  }

  private async read(tag: string, offset: number, length: number): Promise<Uint8Array> {
    const key = `${tag}:${offset}:${length}`;
    const cached = this.environment.mutants.cacheReads ? this.cache.get(key) : undefined;
    const data =
      cached ?? (await this.request({ type: PeerType.read, offset, length, payload: Buffer.from(tag) }));
    this.cache.set(key, data);
    return data.slice();
  }

  private async controlCall(method: string, params: unknown): Promise<{ result: unknown }> {
    const creates = method === 'cluster.format' || method === 'vdi.create' || method === 'vdi.snapshot';
    if (!creates) throw new AppError('not-supported', method);
    if (method === 'cluster.format') return { result: {} };
    await this.request({ type: PeerType.control, payload: Buffer.from(JSON.stringify(params)) });
    return { result: {} };
  }

  private request(what: Partial<PeerMessage>): Promise<Uint8Array> {
    const id = this.nextId++;
    const session = BigInt(this.environment.index * 100_000 + this.environment.life);
    const message: PeerMessage = { ...emptyMessage, ...what, id, oid: session };
    return new Promise((resolve) => {
      this.waiting.set(id, { message, resolve });
      this.channel?.send(message);
    });
  }

  private async connect(): Promise<void> {
    const { transport, clock } = this.environment;
    try {
      const channel = await transport.connect({ host: '10.0.0.1', port: 7000 });
      this.adopt(channel);
    } catch (error) {
      if (!AppError.isCode(error, 'network')) throw error;
      clock.after(20, () => void this.connect());
    }
  }

  private adopt(channel: Channel): void {
    this.channel = channel;
    this.lastHeardMs = this.environment.clock.nowMs();
    channel.onMessage = (message) => {
      this.lastHeardMs = this.environment.clock.nowMs();
      const entry = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      entry?.resolve(message.payload);
    };
    channel.onClose = () => {
      this.channel = undefined;
      this.environment.clock.after(5, () => void this.connect());
    };
    for (const { message } of this.waiting.values()) channel.send(message);
  }

  private watchSilence(): void {
    const { clock } = this.environment;
    clock.after(SILENCE_MS / 2, () => {
      const silent = this.waiting.size > 0 && clock.nowMs() - this.lastHeardMs > SILENCE_MS;
      if (silent) this.channel?.close();
      this.watchSilence();
    });
  }
}

const emptyMessage: PeerMessage = {
  type: 0,
  flags: 0,
  id: 0,
  result: 0,
  epoch: 0,
  oid: 0n,
  parent: 0n,
  root: 0,
  copies: 1,
  objectShift: 20,
  offset: 0,
  length: 0,
  sequence: 0,
  commit: 0,
  payload: NO_BYTES,
};
