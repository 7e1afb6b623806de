// run: all
// deadline: 300 s
/** A real guest whose disk is grown, and whose sheep is killed, while it writes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GuestDomain, NBD_SOCKET, SHEEP_FOLDER } from '../helpers/guest-domain.js';
import { requiresGuest } from '../helpers/guest-files.js';
import { requiresLibvirtd } from '../helpers/libvirtd.js';
import { within } from '../helpers/real-cluster.js';
import { around, doorSocket, mustVm } from './vm-setup.js';

const MIB = 1024 * 1024;
const SECTOR_BYTES = 512;
const WRITE_DEADLINE_MS = 60_000;
const BOOT_DEADLINE_MS = 120_000;

requiresGuest(requiresLibvirtd(test))(
  'a guest that writes sees its disk grow, and waits for a sheep that is killed',
  (files) =>
    around(['alpha'], async (cluster, host) => {
      await cluster.call('vdi.create', { name: 'root', sizeBytes: 64 * MIB });
      const guest = new GuestDomain({ name: 'guest', volume: 'root', files });
      // By the path that the sheep itself tells, as `dog vm disk` writes it.
      const xml = guest.xml.replace(`/run/${SHEEP_FOLDER}/${NBD_SOCKET}`, doorSocket(cluster, 0));
      await host!.mustVirsh('create', host!.file('guest.xml', xml));
      const console = await guest.console(host!, BOOT_DEADLINE_MS);
      const sectors = async () => Number(await console.must('cat /sys/block/vda/size')) * SECTOR_BYTES;
      assert.is(await sectors(), 64 * MIB);
      // Block after block, again and again, each number to be read back; it ends when it may, or with an error.
      await console.must(
        '(n=0; while [ ! -e /tmp/end ]; do n=$((n + 1)); ' +
          'echo $n | dd of=/dev/vda bs=4096 seek=$((n % 64)) conv=sync,fsync 2>/dev/null || { echo failed; break; }; ' +
          'echo $n > /tmp/written; done) > /tmp/writer 2>&1 & true',
      );
      const written = async () =>
        Number((await console.must('cat /tmp/written 2>/dev/null || echo 0')).trim());
      const moves = async () => {
        const from = await written();
        await within(
          WRITE_DEADLINE_MS,
          'the guest goes on writing',
          async () => (await written()) > from + 5,
        );
      };
      await moves();
      await mustVm(cluster, 0, host!, 'resize', 'guest', 'vda', '96M');
      assert.is(await sectors(), 96 * MIB);
      await moves();
      // The new connection waits, which the first one did not.
      await cluster.sheep[0]!.kill();
      cluster.sheep[0]!.spawn();
      await moves();
      await console.must('touch /tmp/end; while ! [ -e /tmp/writer ]; do :; done');
      assert.is(await console.must('cat /tmp/writer'), '');
      assert.not.match(await console.must('dmesg'), /I\/O error/);
      console.close();
    })(),
);

test.run();
