// deadline: 300 s
/** libvirt's own schemas take every XML that we print: `virt-xml-validate` of the libvirt that is installed. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { diskXml } from '../../src/vm/disk-xml.js';
import { type Libvirtd, requiresLibvirtd } from '../helpers/libvirtd.js';
import { PoolDaemon, poolXml } from '../helpers/pool-daemon.js';
import { withCluster } from '../helpers/real-cluster.js';
import { run } from '../helpers/sheepfs-mount.js';
import { around, mustVm, plainDomain } from './vm-setup.js';

const MIB = 1024 * 1024;
const POOLS_DEADLINE_MS = 120_000;

const withValidator = requiresLibvirtd(test, 'virt-xml-validate', 'xmllint', 'qemu-img');

class Schemas {
  private number = 0;

  constructor(private readonly write: (name: string, text: string) => string) {}

  /** `schema`: as virt-xml-validate names it. */
  async take(xml: string, schema: string): Promise<void> {
    const path = this.write(`printed-${++this.number}.xml`, xml);
    const { code, stdout, stderr } = await run('virt-xml-validate', path, schema);
    assert.is(code, 0, `${stdout}${stderr}${xml}`);
  }

  async refuse(xml: string, schema: string): Promise<void> {
    const path = this.write(`printed-${++this.number}.xml`, xml);
    assert.is.not((await run('virt-xml-validate', path, schema)).code, 0, xml);
  }
}

function schemasOf(host: Libvirtd): Schemas {
  return new Schemas((name, text) => host.file(name, text));
}

/** A disk is validated where it belongs. */
function inDomain(disk: string): string {
  return plainDomain('web').replace('</devices>', `${disk}</devices>`);
}

withValidator(
  "what 'dog vm' prints is what libvirt's schemas want",
  around(['alpha'], async (cluster, host) => {
    const schemas = schemasOf(host!);
    await cluster.call('vdi.create', { name: 'disk & <more>', sizeBytes: 16 * MIB });
    await cluster.call('vdi.snapshot', { name: 'disk & <more>', tag: 'clean' });
    for (const words of [
      [],
      ['-s', 'clean'],
      ['--cdrom'],
      ['--bus', 'scsi'],
      ['--bus', 'usb'],
      ['--target', 'sdc'],
    ]) {
      const printed = await mustVm(cluster, 0, host!, 'disk', 'disk & <more>', ...words);
      await schemas.take(inDomain(printed), 'domain');
    }
    for (const words of [
      [],
      ['--cpu', 'host-model', '--network', 'user'],
      ['--cpu', 'host-passthrough', '--network', 'none'],
      ['--cpu', 'default', '--memory', '64M', '--cpus', '1', '--network', 'lan & more'],
    ]) {
      const line = ['create', 'web', '--volume', 'disk & <more>', '--print', ...words];
      await schemas.take(await mustVm(cluster, 0, host!, ...line), 'domain');
    }
    // By TCP, with TLS, as the first to start from: doors that this cluster does not have.
    const spec = {
      exportName: 'disk',
      target: 'vda',
      bus: 'virtio',
      device: 'disk',
      readOnly: true,
    } as const;
    const door = { place: { host: '192.0.2.1', port: 10809 }, tls: true };
    const old = { major: 9, minor: 0, patch: 0 };
    await schemas.take(inDomain(diskXml({ ...spec, door, bootOrder: 1 }, old)), 'domain');
    // And it is a validator.
    await schemas.refuse(inDomain("<disk type='network'><source protocol='nbd'/></disk>"), 'domain');
  }),
);

withValidator('what the storage daemon prints of pools and volumes is what the schemas want', () =>
  withCluster({ sheep: 1, copies: 1, deadlineMs: POOLS_DEADLINE_MS }, async (cluster) => {
    const folder = cluster.folderFor('pools');
    const write = (name: string, text: string) => {
      const path = join(folder, name);
      writeFileSync(path, text);
      return path;
    };
    const schemas = new Schemas(write);
    await PoolDaemon.with(folder, [], async (daemon) => {
      const { port } = cluster.sheep[0]!;
      const target = `<target><path>${folder}</path></target>`;
      for (const xml of [
        poolXml('vms', port),
        poolXml('web', port, 'w'),
        poolXml('files', port, 'f', target),
      ]) {
        await daemon.ok('pool-define', write('pool.xml', xml));
      }
      for (const pool of ['vms', 'web', 'files']) {
        await daemon.ok('pool-start', pool);
        await daemon.ok('vol-create-as', pool, 'raw', '16M');
        await daemon.ok('vol-create-as', pool, 'image', '16M', '--format', 'qcow2');
        for (const words of [[], ['--inactive']]) {
          // libvirt reads a target of any pool; its schema knows none for this type.
          const printed = await daemon.ok('pool-dumpxml', pool, ...words);
          await schemas.take(printed.replace(/<target>.*<\/target>/s, ''), 'storagepool');
        }
        for (const name of ['raw', 'image']) {
          await schemas.take(await daemon.ok('vol-dumpxml', name, pool), 'storagevol');
        }
      }
      await schemas.take(await daemon.ok('pool-capabilities'), 'storagepoolcaps');
      await schemas.refuse("<pool type='sheepdog'><name>vms</name></pool>", 'storagepool');
    });
  }),
);

test.run();
