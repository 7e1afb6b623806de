import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import { processOf } from '../cluster/epochs/epoch.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { ClusterView } from '../cluster/epochs/view.js';
import type { Session } from '../cluster/objects/object-client.js';
import { decodeOids, encodeOids } from '../cluster/objects/oid-list.js';
import type { Origin } from '../cluster/reach/links.js';
import type { Coordinator, Op } from '../coord/coordinator.js';
import { emptyMessage, type PeerMessage, PeerType } from '../wire/peer-message.js';
import { epochIsSettled } from './claim-conditions.js';
import { Confirmer } from './confirmer.js';
import type { BlockDevice, DeviceProvider } from './device.js';
import type { Directory } from './directory.js';
import { Forwarded } from './forwarded.js';
import { exportNames, openFrozen, snapshotOfExport } from './frozen-volume.js';
import type { OwnedVolume } from './owned-volume.js';
import { keys, type OwnerRecord, type VdiRecord } from './records.js';
import { Releaser } from './releaser.js';
import { DeviceOp, deviceRequest, isChange, lineOfMessage, serveDevice } from './remote-codec.js';
import { loosened, put } from './version-records.js';
import { VolumeDevice } from './volume-device.js';
import { VolumeHandle } from './volume-handle.js';
import { readIndex, usageOf, VolumeIndex } from './volume-index.js';

/** A gateway that asked for something within this time may have the volume open. */
const SERVED_LATELY_MS = 30_000;

export interface VolumeManagerOptions {
  readonly cluster: ClusterNode;
  readonly membership: Membership;
  readonly coordinator: Coordinator;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly log: Logger;
  /** Resolves when nothing is being removed that `onReleased` told of. */
  readonly released: (line: string) => Promise<void>;
  /** An inherited object that a volume stopped referring to, which may now be nobody's. */
  readonly onReleased: (record: VdiRecord, index: number, owner: number) => void;
}

/** Where a volume is served now. */
export type Target = { kind: 'local'; owned: OwnedVolume } | { kind: 'remote'; nodeId: string };

/**
 * Which gateway serves which volume (I-9). The first gateway that needs a volume takes its ownership, a key in the
 * coordinator that dies with the gateway's lease; all others send their requests to the owner. So there is one index
 * in memory, one order of requests and one place to hold still for a snapshot, whoever the clients are.
 */
export class VolumeManager implements DeviceProvider {
  private readonly owned = new Map<string, OwnedVolume>();
  private readonly claiming = new Map<string, Promise<OwnedVolume | undefined>>();
  /** Handles of each line that other doors than the sheepdog one have open here. */
  readonly opened = new Map<string, number>();
  private claims = 0;
  /** Lines whose claim may stand although nobody here owns the volume: the coordinator did not answer. */
  private readonly unsure = new Set<string>();
  /** Changes that this gateway asks of others. */
  readonly confirmer: Confirmer;
  private readonly releaser: Releaser;
  stopped = false;

  constructor(readonly options: VolumeManagerOptions) {
    const { clock, log, membership, cluster } = options;
    this.releaser = new Releaser({
      clock,
      log,
      isOwned: (owned) => !this.stopped && this.owned.get(owned.line) === owned,
      giveUp: (owned) => this.giveUp(owned),
    });
    this.confirmer = new Confirmer({
      clock,
      isPresent: (nodeId) => membership.view?.nodes.get(nodeId)?.up === true,
      send: async (nodeId, line, ids) => {
        const fields = { payload: encodeOids(ids) };
        await cluster.links.request(nodeId, deviceRequest(line, DeviceOp.confirm, fields));
      },
    });
  }

  async open(exportName: string, options: { readOnly?: boolean } = {}): Promise<BlockDevice> {
    const snapshot = snapshotOfExport(exportName);
    if (snapshot !== undefined) return openFrozen(this.options, snapshot, exportName);
    const record = await this.options.directory.findNow({ name: exportName });
    if (record.image !== undefined) return openFrozen(this.options, { name: exportName }, exportName);
    const handle = await VolumeHandle.open(this, record.line, options.readOnly ?? false);
    this.countOpened(record.line, 1);
    handle.onClosed = () => this.countOpened(record.line, -1);
    return handle;
  }

  private countOpened(line: string, change: number): void {
    const count = (this.opened.get(line) ?? 0) + change;
    if (count > 0) this.opened.set(line, count);
    else this.opened.delete(line);
  }

  /** For a door that keeps its own books of who uses a volume. */
  openLine(line: string): Promise<VolumeHandle> {
    return VolumeHandle.open(this, line, false);
  }

  /**
   * Whether others may be writing to the volume: another door of this gateway has it open, or another gateway owns it
   * or has asked this one to change it. Who caches what the volume looks like must not do so then.
   */
  isUsedElsewhere(line: string): boolean {
    if ((this.opened.get(line) ?? 0) > 0) return true;
    const owned = this.ownedBy(line);
    if (owned === undefined) return this.options.directory.owner(line) !== undefined;
    return owned.lastServedMs + SERVED_LATELY_MS > this.options.clock.nowMs();
  }

  async list(): Promise<string[]> {
    return exportNames(this.options.directory);
  }

  /** The present server of the volume; this node takes it when it has none. 'again': ask once more. */
  async locate(line: string): Promise<Target> {
    const owned = this.owned.get(line);
    if (owned !== undefined && this.alive(owned)) {
      if (!owned.releasing) return { kind: 'local', owned };
      throw new AppError('again', 'the volume is being handed over');
    }
    if (owned !== undefined) this.forget(owned);
    const owner = this.options.directory.owner(line);
    if (owner !== undefined && !this.isSelf(owner)) return { kind: 'remote', nodeId: owner.nodeId };
    const claimed = await this.claim(line);
    if (claimed === undefined) throw new AppError('again', 'the volume has just been taken');
    return { kind: 'local', owned: claimed };
  }

  /** A request of another gateway for a volume that this node owns. */
  async serve(message: PeerMessage, origin: Origin): Promise<PeerMessage> {
    const owned = this.owned.get(lineOfMessage(message));
    const process = processOf(origin.incarnation);
    const gateway = `${origin.nodeId}/${process}`;
    // Of another process than the one that is a member by what is known here, nothing could be kept.
    const { view } = this.options.membership;
    if (view === undefined || !isPresent(view, origin.nodeId, process))
      throw new AppError('again', 'not a member');
    if (message.sequence === DeviceOp.confirm) {
      // The owner may be another one by now: what this one kept went with its ownership.
      owned?.forwarded.confirm(gateway, decodeOids(message.payload));
      return emptyMessage(PeerType.device + 1);
    }
    if (owned === undefined || owned.releasing || !this.alive(owned)) {
      if (owned === undefined) this.makeSure(lineOfMessage(message));
      throw new AppError('again', 'this gateway does not own the volume');
    }
    owned.lastServedMs = this.options.clock.nowMs();
    if (!isChange(message)) return this.use(owned, (device) => serveDevice(device, message));
    return owned.forwarded.run(gateway, message.parent, (keep, isWanted) =>
      this.use(owned, (device) => serveDevice(device, message, { keep, isWanted })),
    );
  }

  /** As long as the claim stands others ask here alone: it is claimed anew, however often that fails, and given up. */
  private makeSure(line: string): void {
    if (!this.unsure.has(line) || this.stopped) return;
    this.claim(line).catch(() => {});
  }

  /** A new epoch: gateways that are not in it ask for nothing again, nor those that have been started anew. */
  enter(view: ClusterView): void {
    const isHere = (gateway: string) => {
      const [nodeId, process] = gateway.split('/');
      return isPresent(view, nodeId!, process!);
    };
    for (const owned of [...this.owned.values()]) {
      if (this.alive(owned)) owned.forwarded.keepOnly(isHere);
      else this.forget(owned);
    }
  }

  /** Runs a request on an owned volume; it is not given up meanwhile. */
  async use<T>(owned: OwnedVolume, work: (device: VolumeDevice) => Promise<T>): Promise<T> {
    owned.busy++;
    try {
      return await work(owned.device);
    } finally {
      owned.busy--;
    }
  }

  acquire(owned: OwnedVolume): void {
    owned.handles++;
  }

  release(owned: OwnedVolume): void {
    owned.handles--;
    if (owned.handles === 0) this.releaser.later(owned);
  }

  /** The volume this node owns for the line, if it does. */
  ownedBy(line: string): OwnedVolume | undefined {
    const owned = this.owned.get(line);
    return owned !== undefined && this.alive(owned) ? owned : undefined;
  }

  /** The volume has been deleted. */
  async drop(owned: OwnedVolume): Promise<void> {
    this.forget(owned);
    owned.releasing = true;
    owned.session.origin.closed = true;
    await this.disclaim(owned).catch((error) => {
      this.unsure.add(owned.line);
      throw error;
    });
  }

  /** Gives up everything, with all requests done: other gateways go on at once. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.confirmer.stopped = true;
    await Promise.all([...this.owned.values()].map((owned) => this.giveUp(owned).catch(() => {})));
  }

  /** Requests that wait for what other gateways have locked go on: they find that the session is over. */
  private forget(owned: OwnedVolume): void {
    if (this.owned.get(owned.line) === owned) this.owned.delete(owned.line);
    owned.forwarded.keepOnly(() => false);
  }

  private alive(owned: OwnedVolume): boolean {
    return owned.session.origin.incarnation === this.options.membership.incarnation;
  }

  private isSelf(owner: OwnerRecord): boolean {
    const { membership, cluster } = this.options;
    return owner.nodeId === cluster.objects.selfId && owner.incarnation === membership.incarnation;
  }

  private claim(line: string): Promise<OwnedVolume | undefined> {
    const running = this.claiming.get(line);
    if (running !== undefined) return running;
    this.unsure.add(line);
    const work = this.take(line).finally(() => this.claiming.delete(line));
    this.claiming.set(line, work);
    return work;
  }

  private async take(line: string): Promise<OwnedVolume | undefined> {
    const { cluster, coordinator, membership, directory } = this.options;
    if (this.stopped) throw new AppError('shutdown', 'this sheep stops');
    const session = cluster.client.session();
    const compares = epochIsSettled(membership);
    if (compares === undefined || !membership.leaseValid()) return undefined;
    const lineRecord = directory.line(line);
    const record = lineRecord === undefined ? undefined : directory.vdi(lineRecord.vid);
    // With snapshots left, a line outlives its working version.
    if (record?.state !== 'live' || lineRecord === undefined) {
      throw new AppError('no-vdi', 'the volume has been deleted');
    }
    // Whoever has to ask an owner wants to change something.
    if (record.image !== undefined) throw new AppError('read-only', 'an image cannot be changed');
    const owner = this.newClaim();
    // Who gave the volume up in good order said what it uses. Without that its last owner died, perhaps while it made
    // an object.
    const inOrder = directory.usage(record.vid) !== undefined;
    const taken = loosened(record, !inOrder);
    const claim = await coordinator.txn(
      [
        ...(cluster.objects.options.mutants?.twoOwners ? [] : [{ key: keys.owner(line), exists: false }]),
        { key: keys.line(line), value: JSON.stringify(lineRecord) },
        { key: keys.vdi(record.vid), value: JSON.stringify(record) },
        ...(inOrder ? [{ key: keys.usage(record.vid), exists: true }] : []),
        ...compares,
      ],
      [
        { type: 'put', key: keys.owner(line), value: owner, lease: membership.leaseId },
        { type: 'delete', key: keys.usage(record.vid) },
        ...(inOrder ? [] : [put(taken)]),
      ],
    );
    if (!claim.ok) return this.reclaim(line);
    return this.load(line, owner, session, lineRecord.name, taken);
  }

  /**
   * A claim of this very start of the node that was lost between the coordinator and its memory, or one that it may
   * still be giving up: it is claimed anew, so that whatever is on its way for the old claim misses.
   */
  private async reclaim(line: string): Promise<OwnedVolume | undefined> {
    const { coordinator, cluster, clock, directory, membership } = this.options;
    const session = cluster.client.session();
    const key = keys.owner(line);
    const kv = await coordinator.get(key);
    if (kv !== undefined && this.isSelf(JSON.parse(kv.value) as OwnerRecord) && !this.owned.has(line)) {
      const lineRecord = directory.line(line);
      const record = lineRecord && directory.vdi(lineRecord.vid);
      if (record?.state === 'live') {
        const owner = this.newClaim();
        const compares = [
          { key, value: kv.value },
          { key: keys.line(line), value: JSON.stringify(lineRecord) },
          { key: keys.vdi(record.vid), value: JSON.stringify(record) },
        ];
        // The claim that was lost may have deleted what told of good order.
        const taken = loosened(record, true);
        const claimed = { type: 'put' as const, key, value: owner, lease: membership.leaseId };
        const { ok } = await coordinator.txn(compares, [claimed, put(taken)]);
        if (ok) return this.load(line, owner, session, lineRecord!.name, taken);
      }
    }
    await new Promise<void>((resolve) => clock.after(10, resolve));
    return undefined;
  }

  private newClaim(): string {
    const { cluster, membership } = this.options;
    const { incarnation } = membership;
    const owner: OwnerRecord = { nodeId: cluster.objects.selfId, incarnation, claim: ++this.claims };
    return JSON.stringify(owner);
  }

  /** Takes back the claim of this volume and no other, however late the coordinator hears of it. */
  private async disclaim(owned: OwnedVolume): Promise<void> {
    const key = keys.owner(owned.line);
    await this.options.coordinator.txn([{ key, value: owned.claim }], [{ type: 'delete', key }]);
  }

  private async load(
    line: string,
    claim: string,
    session: Session,
    name: string,
    record: VdiRecord,
  ): Promise<OwnedVolume> {
    const { cluster, log, onReleased } = this.options;
    const entries = await readIndex(cluster.client, session, record);
    const index = new VolumeIndex(cluster.client, session, record, entries);
    const device: VolumeDevice = new VolumeDevice({
      client: cluster.client,
      session,
      name,
      record,
      index,
      readOnly: false,
      onReleased: (i, owner) => onReleased(device.record, i, owner),
    });
    const owned: OwnedVolume = {
      line,
      claim,
      device,
      session,
      handles: 0,
      busy: 0,
      releasing: false,
      lastServedMs: Number.NEGATIVE_INFINITY,
      forwarded: new Forwarded(),
    };
    this.owned.set(line, owned);
    this.unsure.delete(line);
    log.info({ volume: name, vid: record.vid }, 'took a volume');
    this.releaser.later(owned);
    return owned;
  }

  async giveUp(owned: OwnedVolume): Promise<void> {
    owned.releasing = true;
    try {
      if (!this.alive(owned)) return;
      await owned.device.still(async () => {
        const { record, index, loose } = owned.device;
        // Requests that still wait behind this are refused, and done again at the next owner.
        owned.session.origin.closed = true;
        this.options.log.info({ volume: owned.device.info().name, vid: record.vid }, 'gives a volume up');
        // What is still being removed could be somebody else's by the time the next owner has deleted the volume.
        await this.options.released(owned.line);
        const key = keys.owner(owned.line);
        const value = JSON.stringify(usageOf(index.entries, record.vid));
        // Whoever claims the volume next takes what is not said for a sign of disorder.
        const usage: Op[] = loose ? [] : [{ type: 'put', key: keys.usage(record.vid), value }];
        const told = await this.options.coordinator.txn(
          [
            { key: keys.vdi(record.vid), exists: true },
            { key, value: owned.claim },
          ],
          [...usage, { type: 'delete', key }],
        );
        if (!told.ok) await this.disclaim(owned);
      });
    } catch (error) {
      this.unsure.add(owned.line);
      throw error;
    } finally {
      // When the coordinator did not answer, the claim may still stand: the next request here claims it anew.
      this.forget(owned);
    }
  }
}

/** That very process of the node is up. */
function isPresent(view: ClusterView, nodeId: string, process: string): boolean {
  const node = view.nodes.get(nodeId);
  return node?.up === true && processOf(node.incarnation) === process;
}
