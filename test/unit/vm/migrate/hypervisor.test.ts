/** What is made of the words of virsh. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AppError } from '../../../../src/base/errors.js';
import { askDestination, freeMemory } from '../../../../src/vm/migrate/hypervisor.js';
import { readMovingDomain } from '../../../../src/vm/migrate/moving-domain.js';
import { Virsh } from '../../../../src/vm/virsh.js';
import { FakeVirsh } from '../../../helpers/fake-virsh.js';

const XML = `<domain type='kvm'><name>web</name><uuid>u</uuid>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
<devices><emulator>/usr/bin/qemu</emulator></devices></domain>`;

const test = suite<{ folder: string }>('hypervisor');
test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'sheepfold-vm-'));
});
test.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

async function ask(folder: string, cases = '') {
  const fake = new FakeVirsh(folder, { domain: XML, cases });
  const shape = await readMovingDomain(
    XML,
    () => false,
    () => 'local',
  );
  const virsh = new Virsh({ uri: 'dst', program: join(folder, 'virsh') });
  return { answer: await askDestination(virsh, shape, XML), calls: fake.calls };
}

const says = (text: string) => `echo "error: ${text}" >&2; exit 1 ;;`;

test('one that has everything', async ({ folder }) => {
  const { answer, calls } = await ask(
    folder,
    `*" net-list"*) printf 'default\\nlan\\n\\n' ;;
*" nodememstats"*) printf 'total  :   100 KiB\\nfree   :   10 KiB\\ncached :   20 KiB\\n' ;;
*" capabilities"*) echo "<capabilities><host><uuid>b</uuid><cpu><model>EPYC</model><vendor>AMD</vendor>
<signature family='25' model='17' stepping='1'/></cpu></host></capabilities>" ;;`,
  );
  assert.equal(answer, {
    ...{ hostname: 'dst', hostUuid: 'b', processor: 'AMD EPYC 25 17 1', lacksOfCpu: undefined },
    ...{ libvirt: { major: 11, minor: 3, patch: 0 }, qemu: { major: 10, minor: 0, patch: 2 } },
    ...{ networks: ['default', 'lan'], freeMemoryBytes: 30 * 1024 },
  });
  const machine = '--virttype kvm --arch x86_64 --machine pc-q35-7.2';
  assert.ok(calls.includes(`dst domcapabilities ${machine} --emulatorbin /usr/bin/qemu`), calls.join('\n'));
});

test('what its processor lacks, in the words of libvirt 9 and of others', async ({ folder }) => {
  const compare = (text: string) => ask(folder, `*" hypervisor-cpu-compare"*) ${says(text)}`);
  const head = 'Failed to compare hypervisor CPU with /tmp/x';
  const incompatible = `${head}\nerror: the CPU is incompatible with host CPU`;
  const lacks = `${incompatible}: Host CPU does not provide required features: avx2, pku`;
  assert.is((await compare(lacks)).answer.lacksOfCpu, 'avx2, pku');
  const vendor = `${incompatible}: vendors differ`;
  assert.is((await compare(vendor)).answer.lacksOfCpu, 'vendors differ');
  const other = `${head}\nerror: cannot compare CPUs of this architecture`;
  assert.is((await compare(other)).answer.lacksOfCpu, undefined);
});

test('a machine that cannot be there, a name that is taken, a hypervisor without networks', async ({
  folder,
}) => {
  const { answer } = await ask(
    folder,
    `*" domcapabilities"*) ${says("the machine 'pc-q35-7.2' is not supported by emulator")}
*" net-list"*) ${says('this function is not supported by the connection driver')}
*" domuuid"*) echo other ;;
*" domstate"*) echo 'shut off' ;;`,
  );
  assert.is(answer.machineRefusal, "the machine 'pc-q35-7.2' is not supported by emulator");
  assert.equal(answer.namesake, { uuid: 'other', state: 'shut off' });
  assert.is(answer.networks, undefined);
  assert.is(answer.freeMemoryBytes, undefined);
});

test('one that stops answering in the middle is silent, not without networks', async ({ folder }) => {
  const lost = `*" net-list"*) ${says('failed to connect to the hypervisor')}`;
  const outcome = await ask(folder, lost).catch((error: AppError) => error.code);
  assert.is(outcome, 'system');
});

test('memory that kernels give back counts as free', () => {
  assert.is(freeMemory('total  :  9 KiB\nfree   :  4 KiB\nbuffers:  2 KiB\ncached :  1 KiB\n'), 7 * 1024);
  assert.is(freeMemory('free   :  4 KiB\n'), 4 * 1024);
  assert.is(freeMemory(''), undefined);
  assert.is(freeMemory('free   :  -4 KiB\n'), undefined);
});

test.run();
