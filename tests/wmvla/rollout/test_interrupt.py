"""A terminal sends Ctrl-C to all processes of a command: the simulators leave it to the engine,
which ends them."""

import os
import signal

from .fake import CountingPolicy, play, row


class InterruptingPolicy(CountingPolicy):
    """Interrupts the simulator that asks."""

    def act(self, queries):
        for query in queries:
            os.kill(int(query.state[1]), signal.SIGINT)
        return super().act(queries)


def test_simulators_leave_ctrl_c_to_the_engine(tmp_path, capfd):
    records, _ = play(tmp_path, [row(0)], policy=InterruptingPolicy(4))
    assert records[0].status == "ok"
    assert "Traceback" not in capfd.readouterr().err
