import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { domainXml } from '../../../src/vm/create-xml.js';
import { parseXml } from '../../../src/vm/domain-xml.js';

const offer = { type: 'kvm', arch: 'x86_64', emulator: '/usr/bin/qemu', machine: 'pc-q35-7.2' } as const;
const spec = { name: 'web', memoryMib: 512, vcpus: 2, disks: ['<disk>\n</disk>\n'], network: 'default' };

test('a domain with KVM', () => {
  assert.is(
    domainXml(spec, offer),
    `<domain type='kvm'>
  <name>web</name>
  <memory unit='MiB'>512</memory>
  <vcpu>2</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <cpu mode='host-model'/>
  <devices>
    <emulator>/usr/bin/qemu</emulator>
    <disk>
    </disk>
    <interface type='network'>
      <source network='default'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'/>
    <console type='pty'/>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <input type='tablet' bus='usb'/>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
    <video>
      <model type='vga'/>
    </video>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
    </rng>
  </devices>
</domain>
`,
  );
});

test('what the host lacks, and what was chosen, changes the definition', async () => {
  const emulated = await parseXml(
    domainXml({ ...spec, network: 'user' }, { ...offer, type: 'qemu' }),
    'domain',
  );
  assert.is(emulated.attribute('type'), 'qemu');
  assert.is(emulated.first('cpu')?.attribute('mode'), 'maximum');
  assert.is(emulated.first('devices')?.first('interface')?.attribute('type'), 'user');
  const plain = await parseXml(domainXml({ ...spec, network: 'none', cpu: 'default' }, offer), 'domain');
  assert.is(plain.first('cpu'), undefined);
  assert.is(plain.first('devices')?.first('interface'), undefined);
  const arm = await parseXml(domainXml(spec, { ...offer, arch: 'aarch64', machine: 'virt' }), 'domain');
  assert.is(arm.first('os')?.attribute('firmware'), 'efi');
  assert.is(arm.first('features')?.first('apic'), undefined);
});

test('a name with characters of XML stays a name', async () => {
  const name = `<web> & 'co'`;
  const root = await parseXml(domainXml({ ...spec, name }, offer), 'domain');
  assert.is(root.first('name')?.text, name);
});

test.run();
