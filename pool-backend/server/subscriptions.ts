import type { PoolEvent, Registry } from '../pools/registry.js';
import { LibvirtError } from '../rpc/errors.js';
import { MessageStatus, MessageType, remoteHeader } from '../rpc/message.js';
import { events, Lifecycle, type PoolName } from '../rpc/procedures.js';
import { encode } from '../rpc/shapes.js';
import type { RpcSocket } from './rpc-socket.js';

const SUBSCRIPTIONS_MAX = 256;

interface Subscription {
  readonly eventId: number;
  /** Undefined: of all pools. */
  readonly uuid: string | undefined;
}

/** The events of pools one client asked for. */
export class Subscriptions {
  private readonly byId = new Map<number, Subscription>();
  private nextId = 0;
  private stopListening: (() => void) | undefined;

  constructor(
    private readonly registry: Registry,
    private readonly socket: RpcSocket,
  ) {}

  /** Returns the id by which events and the end of the subscription go. Throws LibvirtError. */
  add(eventId: number, pool: PoolName | undefined): number {
    if (eventId !== events.lifecycle.eventId && eventId !== events.refresh.eventId) {
      throw new LibvirtError('internal', `unsupported storage pool event ID ${eventId}`);
    }
    if (this.byId.size >= SUBSCRIPTIONS_MAX) {
      throw new LibvirtError('operation-failed', `a client may have ${SUBSCRIPTIONS_MAX} subscriptions`);
    }
    const id = this.nextId++;
    this.byId.set(id, { eventId, uuid: pool?.uuid });
    this.stopListening ??= this.registry.listen((changed, event) => this.tell(changed, event));
    return id;
  }

  /** Throws LibvirtError 'invalid-arg' for an id that is not in use. */
  remove(id: number): void {
    if (!this.byId.delete(id)) {
      throw new LibvirtError('invalid-arg', `storage pool event callback ${id} not registered`);
    }
  }

  close(): void {
    this.stopListening?.();
    this.byId.clear();
  }

  private tell(pool: PoolName, event: PoolEvent): void {
    const { number, eventId } = events[event.kind];
    for (const [callbackId, wanted] of this.byId) {
      if (wanted.eventId !== eventId || (wanted.uuid !== undefined && wanted.uuid !== pool.uuid)) continue;
      const body =
        event.kind === 'refresh'
          ? encode(events.refresh.body, { callbackId, pool })
          : encode(events.lifecycle.body, { callbackId, pool, event: Lifecycle[event.event], detail: 0 });
      const header = { procedure: number, type: MessageType.event, serial: 0, status: MessageStatus.ok };
      this.socket.send(remoteHeader(header), body);
    }
  }
}
