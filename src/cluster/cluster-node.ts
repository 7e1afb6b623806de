import { AppError } from '../base/errors.js';
import { RequestCounters, type RequestKind } from '../base/request-counters.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { Transport } from '../net/transport.js';
import { isInode } from '../wire/oid.js';
import { emptyMessage, PeerFlag, type PeerMessage, PeerType } from '../wire/peer-message.js';
import type { ObjectAddress } from './epochs/address.js';
import type { ClusterView } from './epochs/view.js';
import { Checker } from './objects/checker.js';
import { addressOf, decodeMutation } from './objects/mutation.js';
import { encodeRuns, ObjectClient } from './objects/object-client.js';
import { ObjectLists } from './objects/object-lists.js';
import { EpochEnded, ObjectNode, type ObjectNodeOptions } from './objects/object-node.js';
import { OwnSettling } from './objects/own-settling.js';
import { Primary } from './objects/primary.js';
import { Replica } from './objects/replica.js';
import { Connectivity } from './reach/connectivity.js';
import { Links, type Origin } from './reach/links.js';
import { CatchUp } from './recovery/catch-up.js';
import { Comparison } from './recovery/comparison.js';
import { Leftovers } from './recovery/leftovers.js';
import { Mover } from './recovery/mover.js';
import { RecoveryPace } from './recovery/pace.js';
import { Strays } from './recovery/strays.js';

export interface ClusterNodeOptions extends ObjectNodeOptions {
  readonly transport: Transport;
  readonly coordinator: Coordinator;
  readonly leaseTtlMs: number;
  /** This node is on the network for traffic between sheep. */
  readonly usesIo?: boolean;
  readonly formatId: string;
  /** Somebody has paused recovery in the whole cluster. */
  readonly recoveryPaused?: () => boolean;
  /** Messages that are not about objects: volumes served by another gateway, control calls carried on. */
  readonly onOther: (message: PeerMessage, origin: Origin) => Promise<PeerMessage>;
}

/** Requests of other sheep that `dog node stat` counts. */
const kinds: Readonly<Record<number, RequestKind>> = {
  [PeerType.read]: 'read',
  [PeerType.replicaRead]: 'read',
  [PeerType.write]: 'write',
  [PeerType.zero]: 'write',
  [PeerType.replicaWrite]: 'write',
  [PeerType.replicaZero]: 'write',
  [PeerType.remove]: 'remove',
  [PeerType.replicaRemove]: 'remove',
  [PeerType.flush]: 'flush',
};

/** All roles of one node towards objects, joined: what a message or a new epoch means for each of them. */
export class ClusterNode {
  readonly objects: ObjectNode;
  readonly primary: Primary;
  readonly client: ObjectClient;
  readonly catchUp: CatchUp;
  readonly checker: Checker;
  readonly links: Links;
  readonly connectivity: Connectivity;
  readonly requests = new RequestCounters();
  activeRequests = 0;
  readonly mover: Mover;
  readonly strays: Strays;
  readonly leftovers: Leftovers;
  readonly comparison: Comparison;
  readonly pace: RecoveryPace;
  private readonly replica: Replica;
  private readonly lists: ObjectLists;
  private readonly ownSettling: OwnSettling;
  private linkedAs = '';

  constructor(private readonly options: ClusterNodeOptions) {
    const { membership, selfId, formatId, transport, clock, log } = options;
    this.objects = new ObjectNode(options);
    this.primary = new Primary(this.objects);
    this.lists = new ObjectLists(this.objects);
    this.replica = new Replica(this.objects, this.lists);
    this.checker = new Checker(this.objects, this.primary.settler);
    this.client = new ObjectClient(this.objects, this.primary, this.checker);
    this.ownSettling = new OwnSettling(this.objects, this.primary.settler);
    this.strays = new Strays(this.objects);
    this.leftovers = new Leftovers(this.objects);
    this.comparison = new Comparison(this.objects, this.primary);
    const { comparison } = this;
    const { foreground } = this.objects;
    const pace = new RecoveryPace({ clock, foreground, paused: options.recoveryPaused ?? (() => false) });
    this.pace = pace;
    this.mover = new Mover(this.objects, comparison, this.lists, pace);
    this.catchUp = new CatchUp(this.objects, comparison, this.mover, pace);
    this.links = new Links(
      {
        selfId,
        incarnation: () => membership.incarnation,
        formatId,
        transport,
        clock,
        log: log.child('links'),
        addressOf: (id) => membership.registrations.get(id) ?? this.connectivity.addressOf(id),
        usesIo: options.usesIo ?? false,
        onRefused: (id) => membership.suspect(id),
      },
      (message, origin) => this.count(message, origin),
    );
    this.objects.links = this.links;
    this.connectivity = new Connectivity({ ...options, links: this.links, log: log.child('links') });
    membership.onView((view) => this.enter(view));
  }

  stop(): void {
    this.objects.stop();
    this.pace.stop();
    this.connectivity.stop();
    this.links.close();
  }

  private enter(view: ClusterView): void {
    if (this.objects.stopped) return;
    const { membership } = this.options;
    // The other side knows this node by the incarnation it said hello with.
    if (this.linkedAs !== membership.incarnation) this.links.resetAll();
    this.linkedAs = membership.incarnation;
    for (const node of view.nodes.values())
      this.links.keepOnly(node.id, node.up ? node.incarnation : undefined);
    this.objects.enter(view);
    this.pace.endEpoch();
    this.connectivity.look();
    const context = this.objects.context!;
    if (!view.self?.up) return;
    void this.ownSettling.run(context);
    this.catchUp.enter(context);
    void this.mover.enter(context);
    void this.strays.enter(context);
    void this.leftovers.enter(context);
  }

  private async count(message: PeerMessage, origin: Origin): Promise<PeerMessage | undefined> {
    const kind = kinds[message.type];
    if (kind === undefined) return this.handle(message, origin);
    this.activeRequests++;
    // Taken now: whoever serves the message may keep its payload.
    let bytes = message.payload.length;
    try {
      const answer = await this.handle(message, origin);
      if (kind === 'read') bytes = answer?.payload.length ?? 0;
      return answer;
    } catch (error) {
      bytes = 0;
      throw error;
    } finally {
      this.activeRequests--;
      this.requests.done(kind, bytes);
    }
  }

  private async handle(message: PeerMessage, origin: Origin): Promise<PeerMessage | undefined> {
    switch (message.type) {
      case PeerType.read:
      case PeerType.write:
      case PeerType.zero:
      case PeerType.remove:
      case PeerType.status:
      case PeerType.reconcile:
      case PeerType.check:
        await this.objects.checkPeer(message, origin);
        return this.serveGateway(message, origin);
      case PeerType.device:
      case PeerType.control:
        return this.options.onOther(message, origin);
      case PeerType.ping:
        return emptyMessage(PeerType.pong);
      case PeerType.pingBack:
        return this.connectivity.pingBack(origin.nodeId);
      default:
        return this.replica.handle(message, origin);
    }
  }

  /** The node that asks has a pace of its own; this one's is for all who ask together. */
  private async reconcile(address: ObjectAddress, asker: string, forMove: boolean): Promise<number> {
    const first = isInode(address.oid);
    try {
      return await this.pace.give((turn) => this.primary.reconcile(address, { asker, forMove, turn }), first);
    } catch (error) {
      if (error instanceof EpochEnded) throw new AppError('old-epoch', 'the epoch of this request is over');
      throw error;
    }
  }

  private async serveGateway(message: PeerMessage, origin: Origin): Promise<PeerMessage> {
    const answer = emptyMessage(message.type + 1);
    switch (message.type) {
      case PeerType.read: {
        const address = addressOf(message);
        answer.payload = await this.primary.read(address, message.offset, message.length, origin);
        return answer;
      }
      case PeerType.status:
        return encodeRuns(await this.primary.status(addressOf(message), origin));
      case PeerType.reconcile: {
        const forMove = (message.flags & PeerFlag.move) !== 0;
        answer.length = await this.reconcile(addressOf(message), origin.nodeId, forMove);
        return answer;
      }
      case PeerType.check: {
        const check = await this.checker.check(addressOf(message), message.length);
        answer.payload = Buffer.from(JSON.stringify(check));
        return answer;
      }
      case PeerType.write:
      case PeerType.zero:
      case PeerType.remove: {
        const { address, mutation } = decodeMutation(PeerType.write, message);
        await this.primary.change(address, mutation, origin);
        return answer;
      }
      default:
        throw new AppError('not-supported', `message ${message.type}`);
    }
  }
}
