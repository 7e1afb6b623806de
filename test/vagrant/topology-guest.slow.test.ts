// deadline: 300 s
/** A guest on the machines of vagrant/, which are namespaces here and brought up one after the other. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GuestDomain } from '../helpers/guest-domain.js';
import { requiresGuest } from '../helpers/guest-files.js';
import { within } from '../helpers/real-cluster.js';
import { MigrationLoad } from '../interop/migration-load.js';
import { isWell, type Machine, withFarm } from './farm.js';
import { farmTest } from './requires.js';

const WAIT_MS = 90_000;
const POOLS = 'storage+unix:///system?socket=/run/sheepfold/pools-sock';

requiresGuest(farmTest)(
  'a guest started on one hypervisor moves to the other with virsh, and does not notice that a sheep is killed',
  (files) =>
    withFarm('in turn', async (farm) => {
      const [from, to] = [farm.machine('hyper1'), farm.machine('hyper2')];
      await from.must('dog', 'vdi', 'create', 'disk', '64M');
      for (const host of [from, to])
        assert.match(await host.must('virsh', '-q', '-c', POOLS, 'vol-list', 'farm'), /disk +nbd/);

      const guest = new GuestDomain({ name: 'vm', volume: 'disk', files });
      const console = await guest.start(from);
      await console.must('echo kept | dd of=/dev/vda bs=512 seek=65536 conv=sync oflag=direct');
      await MigrationLoad.start(console);
      console.close();

      await from.mustVirsh('migrate', '--live', 'vm', 'qemu+tcp://hyper2/system');
      assert.is(await from.mustVirsh('list', '--name'), '');
      assert.match(await to.mustVirsh('list', '--name'), /^vm$/m);
      const moved = await guest.console(to);
      await passesGoOn(moved);

      await killSheep(farm.machine('sheep2'));
      await within(WAIT_MS, 'it is missed', async () => !(await isWell((command) => doctor(to, command))));
      await passesGoOn(moved);
      await farm.machine('sheep2').bringUp();
      await within(WAIT_MS, 'all is well again', () => isWell((command) => doctor(to, command)));

      const passes = await MigrationLoad.stop(moved);
      await MigrationLoad.check(moved);
      assert.ok(passes.every(({ status }) => status === 0));
      assert.match(await moved.must('dd if=/dev/vda bs=512 skip=65536 count=1 iflag=direct'), /^kept/);
      moved.close();
      await guest.destroy(to);
    }),
);

function doctor(host: Machine, command: string): Promise<string> {
  return host.must(...command.split(' '));
}

/** Work that began now is done. */
async function passesGoOn(console: Parameters<typeof MigrationLoad.passes>[0]): Promise<void> {
  const before = (await MigrationLoad.passes(console)).length;
  await within(WAIT_MS, 'the guest goes on', async () => {
    await MigrationLoad.check(console);
    return (await MigrationLoad.passes(console)).length > before + 1;
  });
}

async function killSheep(machine: Machine): Promise<void> {
  const pid = await machine.must('cat', '/var/lib/sheepfold/sheep0/pid');
  await machine.must('kill', '-9', pid);
}

test.run();
