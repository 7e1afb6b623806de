import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { Membership } from '../cluster/epochs/membership.js';
import { CheckMode } from '../cluster/objects/checker.js';
import type { Coordinator } from '../coord/coordinator.js';
import { addressIn, type Directory } from '../volume/directory.js';
import type { Locks } from '../volume/locks.js';
import type { OwnedVolume } from '../volume/owned-volume.js';
import { keys, type VdiRecord } from '../volume/records.js';
import type { Staging } from '../volume/staging.js';
import { objectCount } from '../volume/volume-index.js';
import type { VolumeManager } from '../volume/volume-manager.js';
import type { VolumeService } from '../volume/volume-service.js';
import { dataOid, formatOid, inodeOid } from '../wire/oid.js';
import type { ControlCaller, ControlProgress, NodeInfo, VdiInfo } from './api.js';
import { type CallResult, carryCall } from './carried.js';
import { CheckCalls, type CheckCallsOptions } from './check-calls.js';
import { CopiesCalls } from './copies-calls.js';
import { LockCalls } from './lock-calls.js';
import { OwnerCalls } from './owner-calls.js';
import * as check from './params.js';
import { StagedCalls } from './staged-calls.js';
import { VersionCalls } from './version-calls.js';
import { VolumeRows } from './volume-rows.js';

export interface VolumeCallsOptions {
  readonly cluster: ClusterNode;
  readonly coordinator: Coordinator;
  readonly membership: Membership;
  readonly log: Logger;
  readonly directory: Directory;
  readonly manager: VolumeManager;
  readonly service: VolumeService;
  readonly clock: Clock;
  readonly defaults: { copies: number; blockSizeShift: number };
  readonly nodes: () => NodeInfo[];
  readonly locks: Locks;
  readonly staging: Staging;
  readonly epochs: CheckCallsOptions['epochs'];
}

type OnProgress = (progress: ControlProgress) => void;

const RETRY_MS = 20;
const RETRY_DEADLINE_MS = 60_000;

/** The control calls about volumes. Those that change a volume are carried to its owner. */
export class VolumeCalls {
  private readonly checks: CheckCalls;
  readonly copies: CopiesCalls;
  private readonly stagedCalls: StagedCalls;
  private readonly versionCalls: VersionCalls;
  private readonly lockCalls: LockCalls;
  private readonly ownerCalls: OwnerCalls;
  private readonly rows: VolumeRows;

  constructor(private readonly options: VolumeCallsOptions) {
    this.checks = new CheckCalls(options);
    this.rows = new VolumeRows({
      ...options,
      carry: (nodeId, carried, params) => this.carry(nodeId, carried, params),
    });
    const call = (method: string, params: unknown) => this.call(method, params, Buffer.alloc(0), () => {});
    this.copies = new CopiesCalls({ ...options, call });
    this.lockCalls = new LockCalls(options);
    this.ownerCalls = new OwnerCalls({
      manager: options.manager,
      carry: (nodeId, carried, params) => this.carry(nodeId, carried, params),
      untilCertain: (work) => this.untilCertain(work),
    });
    this.versionCalls = new VersionCalls(options.service, options.directory);
    this.stagedCalls = new StagedCalls({
      staging: options.staging,
      defaults: () => options.defaults,
      describe: (record) => this.rows.describe(record),
      onOwner: (name, method, params, work) => this.onOwner(name, method, params, work),
    });
  }

  async call(
    method: string,
    params: unknown,
    blob: Uint8Array,
    onProgress: OnProgress,
    caller?: ControlCaller,
  ): Promise<CallResult | undefined> {
    const fields = check.checkFields(params);
    if (method === 'version.forgetSnapshot') return this.versionCalls.forgetSnapshot(fields);
    if (VersionCalls.handles(method)) {
      const name = check.checkText(fields.name, 'name', check.NAME_BYTES_MAX);
      return this.onOwner(name, method, params, (owned) => this.versionCalls.call(method, owned, fields));
    }
    switch (method) {
      case 'vdi.list':
        return {
          result: await this.rows.list(fields.name === undefined ? undefined : check.checkName(fields.name)),
        };
      case 'vdi.info':
        return {
          result: await this.rows.describe(await this.options.directory.findNow(check.checkVdiRef(fields))),
        };
      case 'vdi.create':
        return { result: await this.create(fields, onProgress) };
      case 'vdi.clone':
        return { result: await this.clone(fields, onProgress) };
      case 'vdi.rename': {
        const record = await this.options.service.rename(
          check.checkName(fields.name),
          check.checkName(fields.newName, 'newName'),
        );
        return { result: await this.rows.describe(record) };
      }
      case 'vdi.resize':
      case 'vdi.snapshot':
      case 'vdi.rollback':
        return this.onOwner(check.checkName(fields.name), method, params, (owned) =>
          this.change(method, owned, fields),
        );
      case 'vdi.delete':
        return this.remove(fields, params, onProgress);
      case 'vdi.read':
        return this.read(fields);
      case 'vdi.write':
        return this.write(fields, blob);
      case 'vdi.flush':
        await this.withDevice(check.checkName(fields.name), (device) => device.flush());
        return { result: {} };
      case 'vdi.discard':
        return this.discard(fields);
      case 'vdi.setattr':
        return { result: await this.setAttribute(fields) };
      case 'vdi.getattr':
        return { result: await this.getAttribute(fields) };
      case 'vdi.object':
        return { result: await this.locateObject(fields) };
      case 'vdi.map':
        return { result: await this.map(fields) };
      case 'vdi.locks':
        return { result: this.lockCalls.list() };
      case 'vdi.unlock':
        return { result: await this.lockCalls.unlock(fields) };
      case 'internal.usage':
        return { result: this.rows.ownUsage(check.checkName(fields.line, 'line')) };
      default:
        return (
          (await this.checks.call(method, fields, onProgress)) ??
          (await this.copies.call(method, fields)) ??
          (await this.ownerCalls.call(method, fields)) ??
          this.stagedCalls.call(method, fields, blob, caller)
        );
    }
  }

  private async create(fields: check.Fields, onProgress: OnProgress): Promise<VdiInfo> {
    const { defaults, service } = this.options;
    const blockSizeShift = check.checkBlockSizeShift(fields.blockSizeShift) ?? defaults.blockSizeShift;
    const wanted = {
      name: check.checkName(fields.name),
      sizeBytes: check.checkSizeBytes(fields.sizeBytes, blockSizeShift),
      copies: fields.copies === undefined ? defaults.copies : check.checkCopies(fields.copies),
      blockSizeShift,
      preallocate: check.checkOptionalBoolean(fields.preallocate, 'preallocate'),
    };
    const progress = (done: number, total: number) => onProgress({ done, total, unit: 'objects' });
    return this.describeDone(await this.untilCertain(() => service.create(wanted, progress)));
  }

  private async clone(fields: check.Fields, onProgress: OnProgress): Promise<VdiInfo> {
    const source = check.checkVdiRef(check.checkFields(fields.source));
    const preallocate = check.checkOptionalBoolean(fields.preallocate, 'preallocate');
    const share = fields.share === undefined || check.checkOptionalBoolean(fields.share, 'share');
    const { blockSizeShift } = await this.options.directory.findNow(source);
    const sizeBytes =
      fields.sizeBytes === undefined ? undefined : check.checkSizeBytes(fields.sizeBytes, blockSizeShift);
    const name = check.checkName(fields.name);
    const options = { preallocate, share, ...(sizeBytes !== undefined && { sizeBytes }) };
    const progress = (done: number, total: number) => onProgress({ done, total, unit: 'objects' });
    const { service } = this.options;
    return this.describeDone(await this.untilCertain(() => service.clone(source, name, options, progress)));
  }

  private async change(method: string, owned: OwnedVolume, fields: check.Fields): Promise<CallResult> {
    const { service } = this.options;
    if (method === 'vdi.snapshot') {
      const { working, snapshot } = await service.snapshot(owned, check.checkNewTag(fields.tag));
      return {
        result: { working: await this.describeDone(working), snapshot: await this.describeDone(snapshot) },
      };
    }
    if (method === 'vdi.rollback') {
      return { result: await this.describeDone(await service.rollback(owned, check.checkVdiRef(fields))) };
    }
    const sizeBytes = check.checkSizeBytes(fields.sizeBytes, owned.device.record.blockSizeShift);
    return { result: await this.describeDone(await service.resize(owned, sizeBytes)) };
  }

  /** Of what has happened: when it cannot be described now, it must not be done again for that. */
  private describeDone(record: VdiRecord): Promise<VdiInfo> {
    return this.untilCertain(() => this.rows.describe(record));
  }

  private async remove(fields: check.Fields, params: unknown, onProgress: OnProgress): Promise<CallResult> {
    const { service } = this.options;
    const ref = check.checkVdiRef(fields);
    const progress = (done: number, total: number) => onProgress({ done, total, unit: 'objects' });
    if (ref.tag !== undefined || ref.snapId !== undefined) {
      // Its record may just be changed by others.
      const freedObjects = await this.untilCertain(() => service.removal.remove(ref, undefined, progress));
      return { result: { freedObjects } };
    }
    const record = await this.options.directory.findNow(ref);
    if (record.image !== undefined) {
      return { result: { freedObjects: await service.removal.remove(ref, undefined, progress) } };
    }
    return this.onOwner(ref.name, 'vdi.delete', params, async (owned) => ({
      result: { freedObjects: await service.removal.remove(ref, owned, progress) },
    }));
  }

  private async read(fields: check.Fields): Promise<CallResult> {
    const ref = check.checkVdiRef(fields);
    const { offset, length } = check.checkRange(fields.offset, fields.length);
    const record = await this.options.directory.findNow(ref);
    const suffix = ref.tag ?? ref.snapId;
    const name = suffix === undefined ? ref.name : `${ref.name}@${suffix}`;
    const end = Math.min(offset + length, record.sizeBytes);
    const size = Math.max(0, end - offset);
    const bytes = await this.withDevice(name, (device) => device.read(Math.min(offset, end), size));
    return { result: { length: size }, blob: bytes };
  }

  private async write(fields: check.Fields, blob: Uint8Array): Promise<CallResult> {
    const { offset } = check.checkRange(fields.offset, blob.length);
    const name = check.checkName(fields.name);
    const record = await this.options.directory.findNow({ name });
    if (offset + blob.length > record.sizeBytes) {
      throw new AppError('invalid', `the write ends beyond the volume of ${record.sizeBytes} bytes`);
    }
    await this.withDevice(name, (device) => device.write(offset, blob));
    return { result: {} };
  }

  private async discard(fields: check.Fields): Promise<CallResult> {
    const name = check.checkName(fields.name);
    const { sizeBytes } = await this.options.directory.findNow({ name });
    const offset = check.checkInteger(fields.offset, 'offset', 0, sizeBytes);
    const length = check.checkInteger(fields.length, 'length', 0, sizeBytes - offset);
    await this.withDevice(name, (device) => device.discard(offset, length));
    return { result: {} };
  }

  private async withDevice<T>(
    name: string,
    work: (device: Awaited<ReturnType<VolumeManager['open']>>) => Promise<T>,
  ): Promise<T> {
    const device = await this.options.manager.open(name);
    try {
      return await work(device);
    } finally {
      await device.close();
    }
  }

  private async setAttribute(fields: check.Fields): Promise<Record<string, never>> {
    const { coordinator, directory } = this.options;
    const record = await directory.findNow({ name: check.checkName(fields.name) });
    const key = keys.attribute(record.line, check.checkAttrKey(fields.key));
    const { mode } = fields;
    if (mode === 'delete') {
      const result = await coordinator.txn([{ key, exists: true }], [{ type: 'delete', key }]);
      if (!result.ok) throw new AppError('missing', 'the attribute does not exist');
      return {};
    }
    if (mode !== 'set' && mode !== 'exclusive')
      throw new AppError('invalid', 'mode must be set, exclusive or delete');
    const value = check.checkAttrValue(fields.value);
    const result = await coordinator.txn(mode === 'exclusive' ? [{ key, exists: false }] : [], [
      { type: 'put', key, value },
    ]);
    if (!result.ok) throw new AppError('exists', 'the attribute exists already');
    return {};
  }

  private async getAttribute(fields: check.Fields): Promise<{ value: string }> {
    const { coordinator, directory } = this.options;
    const record = await directory.findNow({ name: check.checkName(fields.name) });
    const kv = await coordinator.get(keys.attribute(record.line, check.checkAttrKey(fields.key)));
    if (kv === undefined) throw new AppError('missing', 'the attribute does not exist');
    return { value: kv.value };
  }

  private async locateObject(fields: check.Fields) {
    const { cluster, directory, nodes } = this.options;
    const record = await directory.findNow(check.checkVdiRef(fields));
    const index = check.checkInteger(fields.index, 'index', -1, objectCount(record) - 1);
    const entries = await this.rows.indexOf(record);
    const vid = index < 0 ? record.vid : entries[index]!;
    const oid = index < 0 ? inodeOid(record.vid) : dataOid(vid === 0 ? record.vid : vid, index);
    const view = cluster.objects.context?.view;
    if (view === undefined) throw new AppError('wait-for-join', 'the node is not in the cluster yet');
    const address = addressIn(record, oid);
    const placement = view.locate(address);
    const { client } = cluster;
    const there = new Set<string>();
    if (placement.serving.length > 0) {
      const { replicas } = await client.check(client.session(), address, CheckMode.existence);
      for (const { nodeId, state } of replicas) if (state === 'good') there.add(nodeId);
    }
    const holders = placement.holders.map((id) => {
      const node = nodes().find((n) => n.id === id);
      const serving = placement.serving.includes(id);
      return { host: node?.host ?? '', port: node?.port ?? 0, present: there.has(id), serving };
    });
    return { oid: formatOid(oid), vid, holders };
  }

  private async map(fields: check.Fields) {
    const record = await this.options.directory.findNow(check.checkVdiRef(fields));
    const index = await this.rows.indexOf(record);
    return { entries: [...index.entries()].filter(([, vid]) => vid !== 0) };
  }

  /** Runs a change where the volume is owned, which may be here. */
  private async onOwner(
    name: string,
    method: string,
    params: unknown,
    work: (owned: OwnedVolume) => Promise<CallResult>,
  ): Promise<CallResult> {
    const { directory, manager } = this.options;
    return this.untilCertain(async () => {
      const record = await directory.findNow({ name });
      const target = await manager.locate(record.line);
      if (target.kind === 'remote') return this.carry(target.nodeId, method, params);
      return manager.use(target.owned, () => work(target.owned));
    });
  }

  /** Repeats what is answered with 'again': then it has not happened. */
  private async untilCertain<T>(work: () => Promise<T>): Promise<T> {
    const { clock } = this.options;
    const deadlineMs = clock.nowMs() + RETRY_DEADLINE_MS;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!AppError.isCode(error, 'again') || clock.nowMs() > deadlineMs) throw error;
      }
      await sleep(clock, RETRY_MS);
    }
  }

  private carry(nodeId: string, method: string, params: unknown): Promise<CallResult> {
    return carryCall(this.options.cluster.links, nodeId, method, params);
  }
}
