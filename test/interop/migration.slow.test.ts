// deadline: 900 s
/**
 * A guest moves back and forth between two hypervisors, each with a sheep of its own, while it writes and verifies and
 * sheep are killed. It never sees an error, its data is right, and its volume has one owner at a time.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GuestDomain } from '../helpers/guest-domain.js';
import { type GuestFiles, requiresGuest } from '../helpers/guest-files.js';
import { type Libvirtd, requiresLibvirtd, withLibvirtds } from '../helpers/libvirtd.js';
import { type RealCluster, withCluster, within } from '../helpers/real-cluster.js';
import { hostOf, withDoors } from './guest-setup.js';
import { type LoadPass, MigrationLoad } from './migration-load.js';
import { installEmulator, killAndStart, migrate } from './migration-setup.js';
import { type Kill, overlapOf, ownerships } from './owner-log.js';

const DISK_BYTES = 64 * 1024 * 1024;
const MOVES = 10;
const AWAY_MS = 1000;
/** From the beginning of a move: the destination may not be open yet, memory is copied, or the disk changes hands. */
const KILL_DELAYS_MS = [250, 500, 900];
const OWNER_DEADLINE_MS = 60_000;

/** Which sheep is killed during which move: that of the host the guest leaves, the other one's, and one of neither. */
const KILLS: Readonly<Record<number, 'source' | 'destination' | 'third'>> = {
  2: 'source',
  5: 'destination',
  8: 'third',
};

requiresGuest(requiresLibvirtd(test))(
  'a guest that is migrated while sheep are killed sees no error and finds what it wrote',
  (files) =>
    withCluster({ ...withDoors, deadlineMs: 880_000 }, (cluster) =>
      withLibvirtds([hostOf(cluster, 0, 'alpha'), hostOf(cluster, 1, 'beta')], (alpha, beta) =>
        new Run(cluster, [alpha!, beta!], files).all(),
      ),
    ),
);

class Run {
  private readonly kills: Kill[] = [];
  private readonly guest: GuestDomain;
  /** Index of the guest's host, and of that host's own sheep. */
  private at = 0;
  /** Of all passes of fio so far. */
  private passes: LoadPass[] = [];

  constructor(
    private readonly cluster: RealCluster,
    private readonly hosts: readonly [Libvirtd, Libvirtd],
    files: GuestFiles,
  ) {
    this.guest = new GuestDomain({ name: 'vm', volume: 'disk', files, emulator: installEmulator(cluster) });
  }

  async all(): Promise<void> {
    await this.cluster.call('vdi.create', { name: 'disk', sizeBytes: DISK_BYTES });
    const console = await this.guest.start(this.host);
    await MigrationLoad.start(console);
    console.close();
    for (let move = 0; move < MOVES; move++) await this.move(move);
    // And where nothing moves: the guest's own gateway is away.
    const before = this.passes.length;
    await this.kill(this.at);
    await this.goesOn(before);
    this.report('killed at rest: its own sheep', before);
    await this.end();
  }

  private get host(): Libvirtd {
    return this.hosts[this.at]!;
  }

  private async move(move: number): Promise<void> {
    const [from, to] = [this.at, 1 - this.at];
    const before = this.passes.length;
    const who = KILLS[move];
    const victim = who && { source: from, destination: to, third: 2 }[who];
    const [moved] = await Promise.all([
      migrate(this.guest, this.hosts[from]!, this.hosts[to]!),
      victim !== undefined && this.kill(victim, KILL_DELAYS_MS[move % KILL_DELAYS_MS.length]),
    ]);
    this.at = to;
    await this.goesOn(before);
    if (victim === undefined) await this.ownedHere();
    const killed = who === undefined ? '' : `, ${who} killed`;
    const figures = `downtime ${moved.downtimeMs} ms of ${moved.totalMs} ms`;
    this.report(`move ${move}${killed}: ${figures}, ${moved.refusals.length} refused`, before);
    for (const refusal of moved.refusals) process.stdout.write(`  refused: ${refusal}\n`);
    // Only a dead sheep may keep a guest where it is.
    assert.ok(
      who === 'destination' || who === 'source' || moved.refusals.length === 0,
      moved.refusals.join('\n'),
    );
  }

  private async kill(index: number, delayMs = 0): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    this.kills.push({ sheep: index, atMs: Date.now() });
    await killAndStart(this.cluster.sheep[index]!, AWAY_MS);
    await this.cluster.waitHealthy();
  }

  /** Waits until a pass that began here is done, or one that came along; none has failed. */
  private async goesOn(before: number): Promise<void> {
    const console = await this.guest.console(this.host);
    await within(OWNER_DEADLINE_MS, 'the guest goes on', async () => {
      this.passes = await MigrationLoad.passes(console);
      await MigrationLoad.check(console);
      return this.passes.length > before + 1;
    });
    console.close();
  }

  /** The volume has followed the guest: its present owner is the sheep of the guest's host. */
  private async ownedHere(): Promise<void> {
    await within(OWNER_DEADLINE_MS, 'the volume is owned where the guest is', () => {
      return ownerships(this.cluster, 'disk', this.kills).at(-1)?.sheep === this.at;
    });
  }

  private report(what: string, before: number): void {
    const slowestMs = Math.max(...this.passes.slice(before).map(({ latencyMaxMs }) => latencyMaxMs));
    process.stdout.write(`${what}; slowest request ${slowestMs.toFixed(0)} ms\n`);
  }

  private async end(): Promise<void> {
    const console = await this.guest.console(this.host);
    this.passes = await MigrationLoad.stop(console);
    await MigrationLoad.check(console);
    assert.ok(this.passes.length > MOVES);
    assert.ok(this.passes.every(({ status }) => status === 0));
    assert.equal(
      this.passes.map(({ number }) => number),
      this.passes.map((_, index) => index + 1),
    );
    const owned = ownerships(this.cluster, 'disk', this.kills);
    process.stdout.write(`owners: ${owned.map(({ sheep }) => sheep).join(' ')}\n`);
    assert.is(overlapOf(owned), undefined);
    console.close();
  }
}

test.run();
