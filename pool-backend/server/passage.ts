import { AppError } from '../../src/base/errors.js';
import type { Logger } from '../../src/base/log.js';
import { mergeCapabilities } from '../pools/capabilities.js';
import { POOL_TYPE, poolIdentityOf, poolTypeOf } from '../pools/pool-xml.js';
import type { Registry } from '../pools/registry.js';
import { encodeError, LibvirtError } from '../rpc/errors.js';
import { type Message, MessageStatus, MessageType, remoteHeader } from '../rpc/message.js';
import {
  type ArgsOf,
  events,
  type PoolName,
  type ProcedureName,
  procedures,
  type ResultOf,
  type VolumeName,
} from '../rpc/procedures.js';
import type { ReceiveBudget } from './rpc-socket.js';
import type { Session } from './session.js';
import { Upstream, UpstreamRefusal } from './upstream.js';

export interface PassageOptions {
  /** Socket of the other daemon. */
  readonly path: string;
  readonly registry: Registry;
  readonly budget: ReceiveBudget;
  readonly log: Logger;
}

/** What became of a call: an answer to encode, or one that was passed on as it came. */
export type Routed = { readonly result: unknown } | { readonly raw: true };
const passedOn: Routed = { raw: true };

const NO_POOL = 49;

/**
 * What one client says to libvirt's own storage daemon, through us. Whose a call is, its pool decides; lists are
 * joined; what belongs to the other one goes there and back byte by byte, streams and events included.
 */
export class Passage {
  private upstream: Upstream | undefined;
  private opening: Promise<Upstream> | undefined;
  private closed = false;
  private identity: ArgsOf<'connectSetIdentity'> | undefined;
  /** Procedures of the streams that go through, by serial. */
  private readonly streams = new Map<number, number>();
  /** Subscriptions by our id, and the other daemon's id of each on this connection. */
  private readonly subscriptions = new Map<number, ArgsOf<'connectStoragePoolEventRegisterAny'>>();
  private readonly localIds = new Map<number, number>();

  constructor(
    private readonly session: Session,
    private readonly options: PassageOptions,
  ) {}

  /** The other daemon does not read what this client sends. */
  get congested(): boolean {
    return this.upstream?.socket.congested ?? false;
  }

  /** Answers a call here, there, or by both. */
  async route(
    name: ProcedureName,
    args: unknown,
    message: Message,
    local: () => Promise<unknown>,
  ): Promise<Routed> {
    switch (procedures[name].route) {
      case 'pool':
        this.refuseMixed(name, args);
        return this.oneOf(this.isOurs((args as { pool: PoolName }).pool), message, local);
      case 'volume':
        return this.oneOf(this.hasPool((args as { volume: VolumeName }).volume.pool), message, local);
      case 'search':
        return this.search(message, local);
      case 'type':
        return this.oneOf(await this.isOurType(name, args), message, local);
      case 'both':
        return { result: await this.join(name, args, await local()) };
      case 'here':
        if (name === 'connectSetIdentity') await this.setIdentity(args as ArgsOf<'connectSetIdentity'>);
        return { result: await local() };
    }
  }

  /** Sends a call there; the reply goes to the client as it comes. */
  async pass(message: Message): Promise<void> {
    const upstream = await this.open();
    const { serial, procedure } = message;
    const isStream =
      procedure === procedures.storageVolUpload.number || procedure === procedures.storageVolDownload.number;
    // Before the reply: libvirtd's first packet of a download may overtake that.
    if (isStream) this.streams.set(serial, procedure);
    await upstream
      .pass(message, (reply) => {
        if (isStream && reply.status !== MessageStatus.ok) this.streams.delete(serial);
        this.session.socket.send(reply, reply.body);
      })
      .catch((error: unknown) => {
        this.streams.delete(serial);
        throw error;
      });
  }

  /** A client's packet of no transfer of ours. */
  onPacket(packet: Message): void {
    if (!this.streams.has(packet.serial) || this.upstream === undefined) return;
    const { socket } = this.upstream;
    socket.send(packet, packet.body);
    if (socket.congested) void socket.drained().then(() => this.session.onPassageDrained());
  }

  close(): void {
    this.closed = true;
    this.upstream?.socket.close('its client is gone');
  }

  private async oneOf(ours: boolean, message: Message, local: () => Promise<unknown>): Promise<Routed> {
    if (ours) return { result: await local() };
    await this.pass(message);
    return passedOn;
  }

  private async search(message: Message, local: () => Promise<unknown>): Promise<Routed> {
    try {
      return { result: await local() };
    } catch (error) {
      if (!LibvirtError.isKind(error, 'no-pool', 'no-volume')) throw error;
    }
    await this.pass(message);
    return passedOn;
  }

  private isOurs({ uuid }: PoolName): boolean {
    return this.options.registry.get(uuid) !== undefined;
  }

  private hasPool(name: string): boolean {
    return this.options.registry.byName(name) !== undefined;
  }

  /** Neither daemon can read the other one's volumes for a clone. */
  private refuseMixed(name: ProcedureName, args: unknown): void {
    if (name !== 'storageVolCreateXmlFrom') return;
    const { pool, source } = args as ArgsOf<'storageVolCreateXmlFrom'>;
    if (this.isOurs(pool) === this.hasPool(source.pool)) return;
    throw new LibvirtError(
      'no-support',
      'a volume made from one of another kind of pool: download and upload it',
    );
  }

  /** A name and a uuid must not be given twice, whichever daemon has the other pool. */
  private async isOurType(name: ProcedureName, args: unknown): Promise<boolean> {
    if (name === 'connectFindStoragePoolSources') return (args as { type: string }).type === POOL_TYPE;
    const { xml } = args as { xml: string };
    const isOurs = (await poolTypeOf(xml)) === POOL_TYPE;
    const wanted = await poolIdentityOf(xml);
    if (isOurs) await this.refuseTakenThere(wanted);
    else this.refuseTakenHere(wanted);
    return isOurs;
  }

  private refuseTakenHere({ name = '', uuid = '' }: { name?: string; uuid?: string }): void {
    const { registry } = this.options;
    const other = registry.get(uuid) ?? registry.byName(name);
    if (other === undefined) return;
    throw new LibvirtError('operation-failed', `pool '${other.name}' already exists with uuid ${other.uuid}`);
  }

  private async refuseTakenThere({ name = '', uuid }: { name?: string; uuid?: string }): Promise<void> {
    const upstream = await this.open().catch((error: unknown) => this.leaveOut(error));
    if (upstream === undefined) return;
    const found =
      (await unlessMissing(upstream.ask('storagePoolLookupByName', { name }))) ??
      (uuid === undefined
        ? undefined
        : await unlessMissing(upstream.ask('storagePoolLookupByUuid', { uuid })));
    if (found === undefined) return;
    const { pool } = found;
    throw new LibvirtError('operation-failed', `pool '${pool.name}' already exists with uuid ${pool.uuid}`);
  }

  /** Ours and theirs together. A daemon that cannot be reached has nothing: ours must not be lost with it. */
  private async join(name: ProcedureName, args: unknown, ours: unknown): Promise<unknown> {
    this.noteSubscription(name, args, ours);
    try {
      return await this.joinWith(await this.open(), name, args, ours);
    } catch (error) {
      if (error instanceof UpstreamRefusal) throw new LibvirtError('operation-failed', error.message);
      this.leaveOut(error);
      return ours;
    }
  }

  private leaveOut(error: unknown): undefined {
    this.options.log.warn({ err: AppError.from(error).message }, 'the other storage daemon is left out');
  }

  private async joinWith(
    upstream: Upstream,
    name: ProcedureName,
    args: unknown,
    ours: unknown,
  ): Promise<unknown> {
    switch (name) {
      case 'connectNumOfStoragePools':
      case 'connectNumOfDefinedStoragePools': {
        const { count } = await upstream.ask(name, undefined);
        return { count: count + (ours as { count: number }).count };
      }
      case 'connectListStoragePools':
      case 'connectListDefinedStoragePools': {
        const { maxNames } = args as { maxNames: number };
        const { names } = await upstream.ask(name, { maxNames });
        const all = [...(ours as { names: readonly string[] }).names, ...names];
        return { names: all.slice(0, Math.max(0, maxNames)) };
      }
      case 'connectListAllStoragePools': {
        const theirs = await upstream.ask(name, args as ArgsOf<typeof name>);
        const { pools, count } = ours as ResultOf<typeof name>;
        return { pools: [...pools, ...theirs.pools], count: count + theirs.count };
      }
      case 'connectGetStoragePoolCapabilities': {
        const { xml } = await upstream.ask(name, args as ArgsOf<typeof name>);
        return { xml: mergeCapabilities(xml) };
      }
      case 'connectStoragePoolEventRegisterAny':
        await this.subscribe(upstream, (ours as ResultOf<typeof name>).callbackId);
        return ours;
      case 'connectStoragePoolEventDeregisterAny':
        await this.unsubscribe(upstream, (args as ArgsOf<typeof name>).callbackId);
        return ours;
      default:
        return ours;
    }
  }

  /** Whether the other daemon is there or not: it is told when it is. */
  private noteSubscription(name: ProcedureName, args: unknown, ours: unknown): void {
    if (name === 'connectStoragePoolEventRegisterAny') {
      const { callbackId } = ours as ResultOf<typeof name>;
      this.subscriptions.set(callbackId, args as ArgsOf<typeof name>);
    } else if (name === 'connectStoragePoolEventDeregisterAny') {
      this.subscriptions.delete((args as ArgsOf<typeof name>).callbackId);
    }
  }

  private async subscribe(upstream: Upstream, localId: number): Promise<void> {
    const wanted = this.subscriptions.get(localId)!;
    if (wanted.pool !== undefined && this.isOurs(wanted.pool)) return;
    if ([...this.localIds.values()].includes(localId)) return;
    const { callbackId } = await upstream.ask('connectStoragePoolEventRegisterAny', wanted);
    this.localIds.set(callbackId, localId);
  }

  private async unsubscribe(upstream: Upstream, localId: number): Promise<void> {
    for (const [callbackId, id] of [...this.localIds]) {
      if (id !== localId) continue;
      this.localIds.delete(callbackId);
      await upstream.ask('connectStoragePoolEventDeregisterAny', { callbackId });
    }
  }

  private async setIdentity(identity: ArgsOf<'connectSetIdentity'>): Promise<void> {
    this.identity = identity;
    await this.upstream?.ask('connectSetIdentity', identity);
  }

  /** Connects when there is no connection; subscriptions of a former one are made again. */
  private open(): Promise<Upstream> {
    if (this.upstream?.socket.isOpen) return Promise.resolve(this.upstream);
    this.opening ??= this.connect().finally(() => {
      this.opening = undefined;
    });
    return this.opening;
  }

  private async connect(): Promise<Upstream> {
    const { path, budget, log } = this.options;
    const { uri, isReadOnly: readOnly } = this.session;
    const upstream = await Upstream.open(
      path,
      { uri: plainUri(uri), readOnly },
      budget,
      { onMessage: (message) => this.onMessage(message), onClose: () => this.onUpstreamClose() },
      log,
    );
    if (this.closed) upstream.socket.close('its client is gone');
    this.upstream = upstream;
    if (this.identity !== undefined) await upstream.ask('connectSetIdentity', this.identity);
    this.localIds.clear();
    for (const localId of this.subscriptions.keys()) await this.subscribe(upstream, localId);
    return upstream;
  }

  private onMessage(message: Message): void {
    const { socket } = this.session;
    if (message.type === MessageType.event) this.onEvent(message);
    else if (this.streams.has(message.serial)) {
      if (message.status !== MessageStatus.continue) this.streams.delete(message.serial);
      socket.send(message, message.body);
    }
    if (!socket.congested) return;
    const { upstream } = this;
    upstream?.socket.pause(true);
    void socket.drained().then(() => upstream?.socket.pause(false));
  }

  /** Their id of the subscription, the first word of every event, becomes ours. */
  private onEvent(message: Message): void {
    const isKnown = Object.values(events).some(({ number }) => number === message.procedure);
    const localId =
      isKnown && message.body.length >= 4 ? this.localIds.get(message.body.readInt32BE(0)) : undefined;
    if (localId === undefined) return;
    const body = Buffer.from(message.body);
    body.writeInt32BE(localId, 0);
    this.session.socket.send(message, body);
  }

  private onUpstreamClose(): void {
    this.localIds.clear();
    this.upstream = undefined;
    const lost = new LibvirtError('operation-failed', 'connection to the other storage daemon is lost');
    for (const [serial, procedure] of this.streams) {
      const fields = { procedure, type: MessageType.stream, serial, status: MessageStatus.error };
      this.session.socket.send(remoteHeader(fields), encodeError(lost));
    }
    this.streams.clear();
    if (!this.closed) this.session.onPassageDrained();
  }
}

/** Without the transport and the socket, which are those of the way to us. */
function plainUri(uri: string): string {
  return uri.replace(/^storage\+unix:/, 'storage:').replace(/\?.*$/, '');
}

async function unlessMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof UpstreamRefusal && error.wire.code === NO_POOL) return undefined;
    throw error;
  }
}
