import { readdirSync, readlinkSync } from 'node:fs';
import { PollSet } from './device-calls.js';
import { WAIT_MS } from './limits.js';

/**
 * Waits for the device and for everything else at once. The event loop of Node cannot watch a character device, so
 * one turn of it is: its own events, without waiting; then a wait for the device together with the loop's own epoll
 * descriptor, which becomes readable as soon as the loop has anything to do (an answer of the sheep, a signal). There
 * is no hop to another thread in the life of a request; the measured alternatives are in README.md.
 *
 * Timers are not seen by that wait: they are late by at most WAIT_MS.
 */
export class DeviceWait {
  private readonly set: PollSet;
  private idle = false;

  constructor(deviceFd: number) {
    this.set = new PollSet([deviceFd, ...eventLoopFds()]);
  }

  /**
   * True: the device has something to read. `paused`: only the event loop counts.
   *
   * What the event loop's own events begin (a connection, the rest of a long write) is registered with epoll one turn
   * later. So it sleeps only when there was nothing at all to do the turn before.
   */
  wait(paused: boolean): boolean {
    this.idle = this.set.wait(this.idle ? WAIT_MS : 0, paused) === 0;
    return !paused && this.set.firstReady;
  }
}

/** Those of other threads of this process are among them; they wake this one without need, and seldom. */
function eventLoopFds(): number[] {
  const found: number[] = [];
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`) === 'anon_inode:[eventpoll]') found.push(Number(name));
    } catch {
      // The descriptor of the listing itself is gone by now.
    }
  }
  return found;
}
