/** What a program in a guest sees of its disk: fio under a real kernel, its requests through virtio-blk and QEMU. */
import { execa } from 'execa';
import type { GuestConsole } from '../../helpers/guest-console.js';
import { guestFiles } from '../../helpers/guest-files.js';
import { hasTool } from '../../helpers/requires.js';
import { readAll } from '../clients.js';
import { RAMP_SECONDS } from '../peers/warm-sample.js';
import type { Target } from '../targets.js';
import { GUEST_PROGRAM, startGuest } from './guest-machine.js';
import { type Mixed, mixedCells, mixedFigures, mixedResult, mixedWords } from './mixed.js';
import { take } from './taken.js';
import type { Place, Work } from './work.js';

const NAME = 'fio in a guest, 4 KiB, 70 % reads and 30 % writes, depth 32';
/** Beside the time that fio was given: its start on an emulated processor. */
const FIO_DEADLINE_MS = 120_000;

export function guestWork(): Work {
  return {
    figures: mixedFigures(NAME),
    note:
      'Guest: a Linux on an emulated processor, its disk without a cache of the host; fio with libaio and ' +
      'O_DIRECT, a flush after each 32 writes. CPU is that of all daemons and of the emulator, whose own work is ' +
      'most of it.',
    missing: guestMissing,
    async measure(target: Target, place: Place) {
      await execa('sync');
      await readAll(target, place.sizeBytes);
      const guest = await startGuest(target, guestFiles()!, place.folder);
      try {
        await runFio(guest.console, RAMP_SECONDS);
        let mixed: Mixed | undefined;
        const taken = await take([...target.pids, guest.pid], async () => {
          mixed = await runFio(guest.console, place.seconds);
        });
        return mixedCells(mixed!, taken);
      } finally {
        guest.console.close();
        await guest.stop();
      }
    },
  };
}

async function runFio(console: GuestConsole, seconds: number): Promise<Mixed> {
  return mixedResult(await console.must(guestCommand(seconds), seconds * 1000 + FIO_DEADLINE_MS));
}

/** One line for the guest's shell. */
export function guestCommand(seconds: number): string {
  return ['fio', ...mixedWords({ file: '/dev/vda' }, seconds), '--direct=1'].join(' ');
}

function guestMissing({ qemuImg }: Target): string | undefined {
  if (qemuImg !== undefined) return "today's emulator has no driver for it";
  if (!hasTool(GUEST_PROGRAM)) return `needs ${GUEST_PROGRAM}`;
  return guestFiles() === undefined ? 'needs the guest: scripts/guest.sh' : undefined;
}
