/** Each rule: silent when all is well, and what it says when its one thing is not. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NbdDisk } from '../../../../src/vm/domain-xml.js';
import type { Destination, MigrationFacts, MovingDisk } from '../../../../src/vm/migrate/facts.js';
import { judgeMigration, summariseMigration } from '../../../../src/vm/migrate/judge.js';
import { volumeDisk } from './facts.js';

const GIB = 2 ** 30;
const places = ['10.0.0.1', '10.0.0.2'].flatMap((host) => [
  { host, port: 10809 },
  { socket: '/run/sheepfold/nbd.sock' },
]);
const doors = { nbdPort: 10809, nbdSocket: '/run/sheepfold/nbd.sock', nbdTls: 'off' } as const;
const hypervisor = {
  hostname: 'beta',
  hostUuid: 'b',
  libvirt: { major: 11, minor: 3, patch: 0 },
  qemu: { major: 10, minor: 0, patch: 2 },
  processor: 'AMD EPYC',
  lacksOfCpu: undefined,
};

/** A guest with one volume, two hosts that are alike, a sheep on each: nothing to say. */
function fine(): MigrationFacts {
  return {
    domain: {
      ...{ name: 'web', uuid: 'u', state: 'running', persistent: true, busy: false, type: 'kvm' },
      ...{ arch: 'x86_64', machine: 'pc-q35-10.0', emulator: '/usr/bin/qemu', memoryBytes: GIB },
      ...{ cpuMode: 'custom', networks: ['default'], hostBound: [], disks: [volumeDisk()] },
    },
    source: { ...hypervisor, hostname: 'alpha', hostUuid: 'a' },
    uri: 'qemu+ssh://beta/system',
    destination: { ...hypervisor, networks: ['default'], freeMemoryBytes: 8 * GIB },
    cluster: { clusterId: 'c', places, blocking: [] },
    arrival: { host: '10.0.0.2', port: 7000, clusterId: 'c', doors, blocking: [] },
    volumes: { vda: { users: 1, locks: [] } },
  };
}

const there = (change: Partial<Destination>): Partial<MigrationFacts> => ({
  destination: { ...(fine().destination as Destination), ...change },
});
const guest = (change: Partial<MigrationFacts['domain']>): Partial<MigrationFacts> => ({
  domain: { ...fine().domain, ...change },
});
const disk = (content: MovingDisk['content'], change: Partial<MovingDisk> = {}) =>
  guest({ disks: [{ target: 'vdb', writable: true, shareable: false, content, ...change }] });
const at = (change: object): Partial<MigrationFacts> => ({
  arrival: { ...fine().arrival!, ...change } as never,
});
const socket = (path: string, change: Partial<NbdDisk> = {}) =>
  guest({ disks: [volumeDisk({ place: { socket: path }, ...change })] });

type Case = readonly [name: string, change: Partial<MigrationFacts>, finding: string, says: RegExp];

const cases: readonly Case[] = [
  ['a silent destination', { destination: { error: 'no route' } }, 'bad destination-silent', /no route/],
  ['a guest that is off', guest({ state: 'shut off' }), 'bad not-running', /it is shut off/],
  ['a backup under way', guest({ busy: true }), 'bad busy', /busy with web/],
  ['a host device', guest({ hostBound: ['a pci device'] }), 'bad host-bound', /a pci device/],
  ['one host twice', there({ hostUuid: 'a' }), 'bad same-host', /is the host where it runs now/],
  [
    'another of its name',
    there({ namesake: { uuid: 'x', state: 'shut off' } }),
    'bad name-taken',
    /^Another/,
  ],
  ['itself, running', there({ namesake: { uuid: 'u', state: 'paused' } }), 'bad name-taken', /^The same/],
  ['no such machine', there({ machineRefusal: 'not q35' }), 'bad machine-unknown', /not q35/],
  ['no such processor', there({ lacksOfCpu: 'avx2' }), 'bad cpu-lacking', /cannot give: avx2/],
  ['no such network', there({ networks: [] }), 'bad network-missing', /the network default/],
  ['no networks', there({ networks: undefined as never }), 'bad network-missing', /the network default/],
  ['little memory', there({ freeMemoryBytes: GIB / 2 }), 'risk memory-short', /1 GiB .* 512 MiB/],
  [
    'an older libvirt',
    there({ libvirt: { major: 10, minor: 9, patch: 9 } }),
    'risk libvirt-older',
    /there \(10\.9\.9\) than here \(11\.3\.0\)/,
  ],
  [
    'an older QEMU',
    there({ qemu: { major: 10, minor: 0, patch: 1 } }),
    'risk qemu-older',
    /there \(10\.0\.1\) than here \(10\.0\.2\)/,
  ],
  [
    'the processor of the host',
    { ...guest({ cpuMode: 'host-passthrough' }), ...there({ processor: 'Intel' }) },
    'risk cpu-of-host',
    /the processors of the two hosts differ/,
  ],
  [
    'all that QEMU can',
    { ...guest({ cpuMode: 'maximum' }), ...there({ qemu: { major: 10, minor: 1, patch: 0 } }) },
    'risk cpu-of-host',
    /the QEMUs of the two hosts differ/,
  ],
  [
    'a file',
    disk({ kind: 'file', path: '/a', fileSystem: 'local' }),
    'bad disk-local',
    /the file \/a, which/,
  ],
  [
    'a file far away',
    disk({ kind: 'file', path: '/a', fileSystem: 'unknown' }),
    'bad disk-local',
    /as far as can be told/,
  ],
  [
    'a CD in a file',
    disk({ kind: 'file', path: '/a.iso', fileSystem: 'local' }, { writable: false }),
    'risk file-there',
    /the same file at the same place/,
  ],
  ['a device', disk({ kind: 'device', path: '/dev/sdx' }), 'risk device-there', /the same disk/],
  ['a pool', disk({ kind: 'pool', name: 'p' }), 'risk pool-there', /that pool/],
  ['a vhost disk', disk({ kind: 'other', type: 'vhostuser' }), 'bad disk-local', /type vhostuser/],
  [
    'a local NBD server of others',
    disk({ kind: 'nbd', nbd: volumeDisk({ place: { socket: '/x' } }).content.nbd }),
    'risk nbd-there',
    /no volume of this cluster/,
  ],
  ['a silent cluster', { cluster: { error: 'refused' } }, 'bad cluster-silent', /refused/],
  [
    'a cluster that waits',
    { cluster: { clusterId: 'c', places, blocking: ['Two are away.'] } },
    'bad cluster-waits',
    /Two are away/,
  ],
  ['a silent sheep', { arrival: { error: 'refused' } }, 'bad sheep-silent', /refused/],
  [
    'another cluster',
    at({ clusterId: 'd' }),
    'bad other-cluster',
    /another cluster \(d\) than the volumes \(c\)/,
  ],
  ['a sheep that waits', at({ blocking: ['It waits.'] }), 'bad sheep-waits', /10\.0\.0\.2:7000 .* It waits/],
  [
    'nobody at its address',
    { ...socket('/run/sheepfold/nbd.sock'), arrival: { candidates: [] } },
    'risk sheep-unknown',
    /^No sheep .* whether vda will be found/,
  ],
  [
    'two at its address',
    { ...socket('/run/sheepfold/nbd.sock'), arrival: { candidates: ['b:7000', 'b:7001'] } },
    'risk sheep-unknown',
    /^Several sheep .*b:7000 and b:7001/,
  ],
  ['a place nobody tells', socket('/run/other.sock'), 'risk place-unknown', /what no sheep tells/],
  ['no door', at({ doors: { nbdPort: 0, nbdTls: 'off' } }), 'bad no-door', /has no NBD door/],
  ['TLS there', at({ doors: { ...doors, nbdTls: 'require' } }), 'bad tls-wanted', /wants TLS/],
  ['TLS here', guest({ disks: [volumeDisk({ tls: true })] }), 'bad tls-unknown', /does not offer/],
  ['a silent volume', { volumes: { vda: { error: 'gone' } } }, 'bad volume-silent', /gone/],
  [
    'a volume it lacks',
    { volumes: { vda: { users: 1, locks: [], missing: 'No VDI found' } } },
    'bad volume-missing',
    /No VDI found/,
  ],
  ['two clients', { volumes: { vda: { users: 2, locks: [] } } }, 'bad volume-in-use', /1 more by NBD\.$/],
  [
    'an old client',
    { volumes: { vda: { users: 1, locks: ['10.0.0.1:7000'] } } },
    'bad volume-in-use',
    /10\.0\.0\.1:7000 by the sheepdog protocol/,
  ],
  [
    'an old libvirt',
    there({ libvirt: { major: 9, minor: 0, patch: 0 } }),
    'note does-not-wait',
    /reconnect|9\.2/,
  ],
];

const rows = (facts: MigrationFacts) =>
  judgeMigration(facts).map(({ severity, rule }) => `${severity} ${rule}`);

test('two hosts that are alike have nothing in the way', () => {
  assert.equal(judgeMigration(fine()), []);
  assert.is(summariseMigration(fine(), []), 'web can move to qemu+ssh://beta/system.');
});

for (const [name, change, finding, says] of cases) {
  test(`found: ${name}`, () => {
    const facts = { ...fine(), ...change };
    assert.ok(rows(facts).includes(finding), rows(facts).join());
    const [, rule] = finding.split(' ');
    assert.match(judgeMigration(facts).find((one) => one.rule === rule)!.text, says);
  });
}

const silentCases: readonly (readonly [string, Partial<MigrationFacts>])[] = [
  ['its own definition, shut off there', there({ namesake: { uuid: 'u', state: 'shut off' } })],
  [
    'what the source lacks of the processor as well',
    { ...there({ lacksOfCpu: 'avx2' }), source: { ...fine().source, lacksOfCpu: 'avx2' } },
  ],
  [
    'newer programs',
    there({ libvirt: { major: 12, minor: 0, patch: 0 }, qemu: { major: 11, minor: 0, patch: 0 } }),
  ],
  ['a file that both hosts have', disk({ kind: 'file', path: '/nfs/a', fileSystem: 'shared' })],
  ['a drive without a medium', disk({ kind: 'empty' })],
  ['a disk that libvirt moves', disk({ kind: 'network', protocol: 'rbd' })],
  ['a door that the guest has elsewhere', socket('/run/sheepfold/nbd.sock')],
  ['a gateway that all hosts reach', { arrival: { candidates: [] } }],
  [
    'readers of what nobody writes',
    {
      ...guest({ disks: [{ ...volumeDisk(), writable: false }] }),
      volumes: { vda: { users: 3, locks: [] } },
    },
  ],
  [
    'a disk that is meant to be shared',
    {
      ...guest({ disks: [{ ...volumeDisk(), shareable: true }] }),
      volumes: { vda: { users: 3, locks: [] } },
    },
  ],
];

for (const [name, change] of silentCases) {
  test(`nothing is said of ${name}`, () => assert.equal(rows({ ...fine(), ...change }), []));
}

test('the worst comes first, and one sentence tells what follows', () => {
  const risky = { ...fine(), ...there({ freeMemoryBytes: 1 }) };
  assert.match(summariseMigration(risky, judgeMigration(risky)), /as far as can be told from here\.$/);
  const bad = { ...risky, arrival: { error: 'away' } };
  assert.equal(rows(bad), ['bad sheep-silent', 'risk memory-short']);
  assert.match(summariseMigration(bad, judgeMigration(bad)), /^web cannot move .*: it stays where it is\.$/);
});

test('every finding that ends it names the next step, but those that no command cures', () => {
  const without = new Set(['no-door', 'tls-wanted', 'tls-unknown']);
  for (const [, change] of cases) {
    for (const { severity, rule, next } of judgeMigration({ ...fine(), ...change })) {
      if (severity === 'bad' && !without.has(rule)) assert.ok(next !== undefined, rule);
    }
  }
});

test.run();
