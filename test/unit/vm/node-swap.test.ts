import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { nbdDisk, parseXml } from '../../../src/vm/domain-xml.js';
import { swapNode } from '../../../src/vm/node-swap.js';

/** QEMU's block nodes, as far as the exchange of one disk's goes: names, who works on whom, what is refused. */
class FakeQemu {
  /** NBD nodes, with what they were made from. */
  readonly nodes = new Map<string, Record<string, unknown>>([['libvirt-2-storage', { export: 'vol' }]]);
  /** The node that the device, or the format node, works on. */
  used = 'libvirt-2-storage';
  readonly calls: string[] = [];
  options: Record<string, unknown> = {};
  /** The command of that number fails, counted from 1. */
  failAt = 0;
  overlay = false;

  constructor(readonly withFormat: boolean) {}

  async monitor(_domain: string, execute: string, args: Record<string, unknown> = {}): Promise<unknown> {
    if (execute.startsWith('query')) return this.run(execute, args);
    this.calls.push(execute);
    if (this.calls.length === this.failAt) throw new AppError('unknown', 'QEMU refuses');
    return this.run(execute, args);
  }

  private run(execute: string, args: Record<string, unknown>): unknown {
    const name = args['node-name'] as string;
    switch (execute) {
      case 'query-block': {
        const top = this.overlay ? 'libvirt-3-format' : this.withFormat ? 'libvirt-2-format' : this.used;
        const qdev = '/machine/peripheral/virtio-disk0/virtio-backend';
        return [{ qdev: '/machine/peripheral/other' }, { qdev, inserted: { 'node-name': top } }];
      }
      case 'query-named-block-nodes':
        return [...this.nodes.keys()].map((node) => ({ 'node-name': node, drv: 'nbd' }));
      case 'blockdev-add':
        if (this.nodes.has(name)) throw new AppError('unknown', 'duplicate node');
        this.nodes.set(name, args);
        return {};
      case 'blockdev-del':
        if (name === this.used || !this.nodes.has(name))
          throw new AppError('unknown', 'in use, or not there');
        this.nodes.delete(name);
        return {};
      case 'blockdev-reopen':
        this.options = (args.options as Record<string, unknown>[])[0]!;
        return this.use(this.options.file as string);
      case 'qom-set':
        assert.equal([args.path, args.property], ['/machine/peripheral/virtio-disk0', 'drive']);
        return this.use(args.value as string);
      default:
        throw new Error(execute);
    }
  }

  private use(node: string): unknown {
    if (!this.nodes.has(node)) throw new AppError('unknown', 'no such node');
    this.used = node;
    return {};
  }

  /** As libvirt left it, with a new connection. */
  get isRenewed(): boolean {
    const node = this.nodes.get('libvirt-2-storage');
    return this.nodes.size === 1 && this.used === 'libvirt-2-storage' && node?.['reconnect-delay'] === 600;
  }
}

async function disk(driver = "cache='none' discard='unmap'", source = '') {
  const xml = `<disk type='network' device='disk'><driver name='qemu' type='raw' ${driver}/>
<source protocol='nbd' name='vol' index='2' ${source}><host transport='unix' socket='/s'/></source>
<target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk>`;
  return nbdDisk(await parseXml(xml, 'disk'))!;
}

async function refusalOf(work: Promise<unknown>): Promise<AppError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('not refused');
}

test('the disk gets a new connection, and libvirt finds the names it knows', async () => {
  for (const withFormat of [true, false]) {
    const qemu = new FakeQemu(withFormat);
    await swapNode(qemu, 'web', await disk(), false);
    assert.ok(qemu.isRenewed);
    const { export: name, server, discard, cache } = qemu.nodes.get('libvirt-2-storage')!;
    const direct = { direct: true, 'no-flush': false };
    assert.equal(
      { name, server, discard, cache },
      {
        name: 'vol',
        server: { type: 'unix', path: '/s' },
        discard: 'unmap',
        cache: direct,
      },
    );
    if (withFormat) {
      assert.equal(qemu.options, {
        'node-name': 'libvirt-2-format',
        driver: 'raw',
        file: 'libvirt-2-storage',
        'read-only': false,
        cache: direct,
        discard: 'unmap',
      });
    }
  }
});

test('wherever it fails the disk works on, and the next run completes it', async () => {
  for (const withFormat of [true, false]) {
    const whole = new FakeQemu(withFormat);
    await swapNode(whole, 'web', await disk(), false);
    for (let failAt = 1; failAt <= whole.calls.length; failAt++) {
      const qemu = new FakeQemu(withFormat);
      qemu.failAt = failAt;
      await swapNode(qemu, 'web', await disk(), false).catch(() => {});
      assert.ok(qemu.nodes.has(qemu.used), `step ${failAt}: the disk has its node`);
      qemu.failAt = 0;
      await swapNode(qemu, 'web', await disk(), false);
      assert.ok(qemu.isRenewed, `step ${failAt}: ${[...qemu.nodes.keys()]}, ${qemu.used}`);
    }
  }
});

test('what QEMU would not survive, or nobody knows how to do, changes nothing', async () => {
  const threads = new FakeQemu(false);
  assert.match((await refusalOf(swapNode(threads, 'web', await disk(), true))).message, /I\/O thread/);
  const overlay = new FakeQemu(true);
  overlay.overlay = true;
  assert.match((await refusalOf(swapNode(overlay, 'web', await disk(), false))).message, /snapshots/);
  const tls = new FakeQemu(true);
  assert.is(
    (await refusalOf(swapNode(tls, 'web', await disk('', "tls='yes'"), false))).code,
    'not-supported',
  );
  for (const qemu of [threads, overlay, tls]) {
    assert.equal([qemu.used, [...qemu.nodes.keys()]], ['libvirt-2-storage', ['libvirt-2-storage']]);
  }
  const withThreads = new FakeQemu(true);
  await swapNode(withThreads, 'web', await disk(), true);
  assert.ok(withThreads.isRenewed);
});

test('options of the disk stay what they were', async () => {
  const cases: [string, Record<string, unknown>][] = [
    ["cache='writeback'", { cache: { direct: false, 'no-flush': false } }],
    ["cache='unsafe'", { cache: { direct: false, 'no-flush': true } }],
    ["detect_zeroes='unmap' discard='unmap'", { discard: 'unmap', 'detect-zeroes': 'unmap' }],
    ["detect_zeroes='unmap'", { 'detect-zeroes': 'on' }],
    ['', {}],
  ];
  for (const [driver, wanted] of cases) {
    const qemu = new FakeQemu(true);
    await swapNode(qemu, 'web', await disk(driver), false);
    const {
      'node-name': _name,
      driver: _driver,
      file: _file,
      'read-only': _readOnly,
      ...rest
    } = qemu.options;
    assert.equal(rest, wanted, driver);
  }
});

test.run();
