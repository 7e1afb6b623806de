import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { ControlHandler } from '../control/api.js';
import { controlOperation } from '../control/operation.js';
import { adminOperations } from '../sheepdog/admin/admin-operations.js';
import { ClusterObjects } from '../sheepdog/admin/cluster-objects.js';
import { sheepFacts } from '../sheepdog/admin/sheep-facts.js';
import { counted, type RequestObserver } from '../sheepdog/counted.js';
import { unformattedOperations, volumeOperations } from '../sheepdog/door.js';
import type { Operations } from '../sheepdog/operation.js';
import { SheepdogServer } from '../sheepdog/server.js';
import { Op, Result } from '../wire/sheepdog.js';
import type { Inner, SheepCore } from './sheep-core.js';

export interface SheepdogDoorOptions {
  readonly core: SheepCore;
  /** Takes the calls of `dog`: the core, with what only a process can do over it. */
  readonly handler: ControlHandler;
  readonly vnodes: number;
  readonly driverName: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observer: RequestObserver;
}

/** Joins a sheep's core to the connections of its sheepdog port. */
export function createSheepdogServer(options: SheepdogDoorOptions): SheepdogServer {
  const { core, handler, clock, log } = options;
  const call = (method: string, params: object) => core.call(method, params, new Uint8Array(0), () => {});
  let served: { inner: Inner | undefined; operations: Operations } | undefined;
  const common: Operations = new Map([[Op.CONTROL as number, controlOperation(handler, { log })]]);
  const adminOf = (inner: Inner | undefined): Operations => {
    const volumes = inner && { ...inner, objects: new ClusterObjects({ ...inner, clock }) };
    return adminOperations(
      sheepFacts({
        vnodes: options.vnodes,
        driverName: options.driverName,
        info: () => core.describe(),
        volumes: () => volumes,
        call,
      }),
      log,
    );
  };
  const volumesOf = (inner: Inner): Operations => {
    const defaults = () => ({ copies: core.defaultCopies, blockSizeShift: inner.config.blockSizeShift });
    const silentFrom = (address: string) => server.silentFrom(address);
    const operations = volumeOperations({
      ...inner,
      coordinator: core.coordinator,
      clock,
      log,
      defaults,
      call,
      silentFrom,
    });
    return counted(operations, clock, options.observer);
  };
  const operations = (): Operations => {
    const inner = core.parts;
    if (served === undefined || served.inner !== inner) {
      const volumes = inner === undefined ? unformattedOperations : volumesOf(inner);
      served = { inner, operations: new Map([...adminOf(inner), ...volumes, ...common]) };
    }
    return served.operations;
  };
  const gate = (): number | undefined => {
    if (core.isStopping) return Result.SHUTDOWN;
    return core.parts === undefined ? Result.WAIT_FOR_FORMAT : undefined;
  };
  const server: SheepdogServer = new SheepdogServer({
    log,
    clock,
    epoch: () => core.epoch,
    operations,
    gate,
  });
  return server;
}
