import { AppError } from '../../src/base/errors.js';
import { type LogLevel, parseLogLevel } from '../../src/base/log-level.js';
import type {
  ClusterInfo,
  ControlHandler,
  ControlMethod,
  ControlParams,
  ControlProgress,
  ControlResult,
  NodeInfo,
  VdiInfo,
  VdiRef,
} from '../../src/control/api.js';
import type {
  LossReport,
  MemberChange,
  MovePlan,
  RecoveryStatus,
  Settings,
} from '../../src/control/member-api.js';
import { nothingToDo } from '../../src/control/move-plan.js';
import { checkFields, checkName, checkNewTag, checkSizeBytes } from '../../src/control/params.js';
import { FakeUploads } from './fake-uploads.js';

interface FakeVdi {
  info: VdiInfo;
  bytes: Buffer;
  attributes: Map<string, string>;
}

type Answer<M extends ControlMethod> = ControlResult<M> | { result: ControlResult<M>; blob: Uint8Array };
type Methods = {
  [M in ControlMethod]?: (
    params: ControlParams<M>,
    blob: Uint8Array,
    onProgress: (progress: ControlProgress) => void,
  ) => Answer<M>;
};

/** A cluster in memory, just good enough that `dog` cannot tell: names, snapshots, bytes, attributes. */
export class FakeCluster implements ControlHandler {
  status: ClusterInfo['status'] = 'running';
  copies = 3;
  readonly vdis: FakeVdi[] = [];
  nodes: NodeInfo[] = [0, 1, 2].map((index) => fakeNode(index, 7000 + index));
  readonly calls: string[] = [];
  formats: unknown[] = [];
  waiting: string[] = [];
  readonly uploads = new FakeUploads(this);
  logLevel: LogLevel = 'info';
  recovery = { recovering: false, done: 0, total: 0 };
  settings: Settings = { downOutMs: 600_000, recoveryPaused: false };
  /** What `member.plan` answers. */
  plan: MovePlan = nothingToDo();
  readonly changes: MemberChange[] = [];
  /** Looks at recovery that a move takes until it is done. */
  looksToDo = 0;
  loss: LossReport = { versions: [], checked: 0 };
  private nextVid = 0x100;
  private readonly createdMs = Date.UTC(2026, 10, 22, 23, 55, 43);

  readonly call: ControlHandler['call'] = async (method, params, blob, onProgress) => {
    this.calls.push(method);
    const run = { ...this.methods, ...this.uploads.methods }[method as ControlMethod] as
      | ((params: unknown, blob: Uint8Array, onProgress: unknown) => unknown)
      | undefined;
    if (run === undefined) throw new AppError('not-supported', `no method ${method}`);
    if (this.status === 'wait-for-format' && method.startsWith('vdi.')) {
      throw new AppError('wait-for-format', 'the cluster is not formatted');
    }
    const answer = run(checkFields(params), blob, onProgress);
    const withBlob = answer as { result: unknown; blob: Uint8Array };
    return withBlob?.blob === undefined ? { result: answer } : withBlob;
  };

  info(): ClusterInfo {
    const nodes = this.nodes.map(({ host, port, vnodes }) => ({ host, port, vnodes }));
    return {
      status: this.status,
      clusterId: 'fake',
      createdMs: this.createdMs,
      copies: this.copies,
      minCopies: 2,
      blockSizeShift: 22,
      epoch: 2,
      epochs: [
        { epoch: 2, wallMs: this.createdMs + 5000, nodes },
        { epoch: 1, wallMs: this.createdMs, nodes: nodes.slice(0, 2) },
      ],
      waiting: this.waiting,
      nodes: this.nodes,
    };
  }

  private recoveryStatus(): RecoveryStatus {
    const moving = this.looksToDo > 0;
    if (moving) this.looksToDo--;
    else
      for (const { id } of this.changes as { id?: string }[])
        this.nodes = this.nodes.map((n) => emptied(n, id));
    const move = { epoch: 3, sinceWallMs: this.createdMs };
    return { ...this.settings, epoch: 3, ...(moving && { move }), nodes: [], waiting: [], down: [] };
  }

  private family({ info }: FakeVdi) {
    const versions = this.vdis
      .filter((vdi) => vdi.info.rootVid === info.rootVid)
      .map(({ info: { name, tag, snapId } }) => ({ name, tag, snapId }));
    return { rootVid: info.rootVid, copies: info.copies, versions, recorded: true };
  }

  find(ref: VdiRef): FakeVdi {
    const family = this.vdis.filter((vdi) => vdi.info.name === ref.name);
    if (family.length === 0) throw new AppError('no-vdi', 'no such volume');
    const wanted = family.find(({ info }) => {
      if (ref.tag !== undefined) return info.snapshot && info.tag === ref.tag;
      if (ref.snapId !== undefined) return info.snapshot && info.snapId === ref.snapId;
      return !info.snapshot;
    });
    if (wanted !== undefined) return wanted;
    throw new AppError(ref.tag === undefined && ref.snapId === undefined ? 'no-vdi' : 'no-tag', 'not found');
  }

  add(name: string, sizeBytes: number, extra: Partial<VdiInfo> = {}): FakeVdi {
    const vid = this.nextVid++;
    const info: VdiInfo = {
      name,
      tag: '',
      snapId: 0,
      vid,
      parentVid: 0,
      rootVid: vid,
      snapshot: false,
      clone: false,
      sizeBytes,
      usedBytes: 0,
      sharedBytes: 0,
      copies: this.copies,
      blockSizeShift: 22,
      createdMs: this.createdMs,
      snapshotMs: 0,
      ...extra,
    };
    const vdi = { info, bytes: Buffer.alloc(Math.min(sizeBytes, 64 * 2 ** 20)), attributes: new Map() };
    this.vdis.push(vdi);
    return vdi;
  }

  private checkFree(name: string): string {
    checkName(name);
    if (this.vdis.some(({ info }) => info.name === name && !info.snapshot)) {
      throw new AppError('vdi-exists', 'there is a volume of that name');
    }
    return name;
  }

  private readonly methods: Methods = {
    'cluster.info': () => this.info(),
    'cluster.format': (params) => {
      if (this.status !== 'wait-for-format' && params.force !== true)
        throw new AppError('exists', 'formatted');
      this.formats.push(params);
      this.copies = params.copies;
      this.vdis.length = 0;
      this.status = 'running';
      return this.info();
    },
    'cluster.shutdown': () => ({}),
    'cluster.alter-copy': ({ copies }) => {
      this.copies = copies;
      return this.info();
    },
    'cluster.settings': (change) => (this.settings = { ...this.settings, ...change }),
    'cluster.recovery': () => this.recoveryStatus(),
    'member.plan': () => this.plan,
    'member.loss': () => this.loss,
    'member.change': (change) => {
      this.changes.push(change);
      return { epoch: 3 };
    },
    'vdi.family': (ref) => this.family(this.find(ref)),
    'vdi.alter-copy': ({ name, copies }) => {
      const vdi = this.find({ name });
      vdi.info.copies = copies;
      return this.family(vdi);
    },
    'node.list': () => this.nodes,
    'node.doors': () => ({ nbdPort: 10809, nbdTls: 'off' }),
    'node.kill': () => ({}),
    'node.disks': () => {
      if (this.status === 'wait-for-format') throw new AppError('wait-for-format', 'not formatted');
      const disk = { totalBytes: 79219036160, usedBytes: 117551104, freeBytes: 79101485056 };
      return { disks: [{ index: 0, path: '/store/0', ...disk }] };
    },
    'node.recovery': () => this.recovery,
    'node.loglevel': ({ level }) => {
      if (level !== undefined) this.logLevel = parseLogLevel(level)!;
      return { level: this.logLevel };
    },
    'node.stat': () => ({
      counters: { 'client.total': 9, 'client.write': 4, 'client.read': 5, 'client.writeBytes': 4194304 },
    }),
    'vdi.list': ({ name }) =>
      this.vdis.map((vdi) => vdi.info).filter((info) => name === undefined || info.name === name),
    'vdi.info': (ref) => this.find(ref).info,
    'vdi.create': (params, _blob, onProgress) => {
      this.checkFree(params.name);
      checkSizeBytes(params.sizeBytes, params.blockSizeShift ?? 22);
      onProgress({ done: 1, total: 1, unit: 'objects' });
      const { copies = this.copies, blockSizeShift = 22 } = params;
      return this.add(params.name, params.sizeBytes, { copies, blockSizeShift }).info;
    },
    'vdi.resize': ({ name, sizeBytes }) => {
      const vdi = this.find({ name });
      vdi.bytes = Buffer.concat([vdi.bytes, Buffer.alloc(sizeBytes - vdi.info.sizeBytes)]);
      vdi.info.sizeBytes = sizeBytes;
      return vdi.info;
    },
    'vdi.snapshot': ({ name, tag }) => {
      checkNewTag(tag);
      const vdi = this.find({ name });
      const snaps = this.vdis.filter(({ info }) => info.name === name && info.snapshot);
      if (tag !== '' && snaps.some(({ info }) => info.tag === tag))
        throw new AppError('exists', 'tag exists');
      const kept = this.add(name, vdi.info.sizeBytes, { snapshot: true, tag, snapId: snaps.length + 1 });
      kept.info.parentVid = vdi.info.parentVid;
      kept.bytes = Buffer.from(vdi.bytes);
      // As in the protocol: the old id becomes the snapshot, the working volume gets the new one.
      [kept.info.vid, vdi.info.vid] = [vdi.info.vid, kept.info.vid];
      vdi.info.parentVid = kept.info.vid;
      return { working: vdi.info, snapshot: kept.info };
    },
    'vdi.clone': ({ source, name }) => {
      const from = this.find(source);
      this.checkFree(name);
      const { sizeBytes, vid } = from.info;
      const made = this.add(name, sizeBytes, { clone: true, parentVid: vid });
      made.bytes = Buffer.from(from.bytes);
      return made.info;
    },
    'vdi.rollback': (ref) => {
      const from = this.find(ref);
      const vdi = this.find({ name: ref.name });
      vdi.bytes = Buffer.from(from.bytes);
      vdi.info.parentVid = from.info.vid;
      return vdi.info;
    },
    'vdi.delete': (ref) => {
      this.vdis.splice(this.vdis.indexOf(this.find(ref)), 1);
      return { freedObjects: 1 };
    },
    'vdi.rename': ({ name, newName }) => {
      const vdi = this.find({ name });
      vdi.info.name = this.checkFree(newName);
      return vdi.info;
    },
    'vdi.read': ({ offset, length, ...ref }) => ({
      result: { length },
      blob: this.find(ref).bytes.subarray(offset, offset + length),
    }),
    'vdi.write': ({ name, offset }, blob) => {
      const vdi = this.find({ name });
      if (offset + blob.length > vdi.info.sizeBytes) throw new AppError('invalid', 'past the end');
      vdi.bytes.set(blob, offset);
      return {};
    },
    'vdi.flush': () => ({}),
    'vdi.setattr': ({ name, key, mode, value }) => {
      const { attributes } = this.find({ name });
      if (mode === 'exclusive' && attributes.has(key)) throw new AppError('exists', 'key exists');
      if (mode === 'delete' && !attributes.delete(key)) throw new AppError('missing', 'no key');
      if (mode !== 'delete') attributes.set(key, value ?? '');
      return {};
    },
    'vdi.getattr': ({ name, key }) => {
      const value = this.find({ name }).attributes.get(key);
      if (value === undefined) throw new AppError('missing', 'no key');
      return { value };
    },
    'vdi.object': ({ index, ...ref }) => ({
      oid: index < 0 ? '8000010000000000' : `0000010000000000${index.toString(16)}`.slice(-16),
      vid: this.find(ref).info.vid,
      holders: [2, 0].map((at) => ({ host: '127.0.0.1', port: 7000 + at, present: true, serving: true })),
    }),
    'vdi.map': (ref) => ({
      entries: [
        [0, this.find(ref).info.vid],
        [49, 0xed202b],
      ],
    }),
  };
}

function emptied(node: NodeInfo, id: string | undefined): NodeInfo {
  return node.id === id ? { ...node, in: false, empty: true } : node;
}

export function fakeNode(index: number, port: number, pid = 1): NodeInfo {
  return {
    index,
    id: `node${index}`,
    host: '127.0.0.1',
    port,
    nbdPort: 10809 + index,
    httpPort: 7080 + index,
    vnodes: 128,
    zone: index,
    up: true,
    in: true,
    syncing: false,
    syncingObjects: 0,
    storeBytes: 79219093504,
    usedBytes: 117551104,
    freeBytes: 79101542400,
    pid,
  };
}
