/* The loop over the systems; cg.c, minres.c and bicgstab.c include it after their Solve and iterate(). */

/* Up to s->steps iterations of every system that is running; gives the largest number that one took. */
int64_t advance(const Solve *s) {
    const int64_t samples = s->system.samples;
    int64_t most = 0;
    for (int64_t sample = 0; sample < samples; sample++) {
        const int64_t taken = iterate(s, sample);
        for (int64_t later = taken; later < s->steps; later++) s->history[later * samples + sample] = s->norm[sample];
        s->iterations[sample] += taken;
        if (taken > most) most = taken;
    }
    return most;
}
