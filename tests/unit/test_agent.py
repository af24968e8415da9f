"""What an agent does with what it was told, and with what it was not."""

from hansa.model.envelope import Key
from hansa.model.stamp import Stamp
from hansa.node.machines.agent import Agent, Drop, Found, Heard, Stop, handle
from hansa.node.machines.lease import Lease
from hansa.ports import DiskFile, Running
from hansa.wire.messages import Document

KEY, EPOCH = Key("t/w/i"), Stamp(1, 3)
THERE = Found(
    guests=(Running(key=KEY, epoch=EPOCH, life=1, pid=7),),
    disks=(DiskFile(key=Key("t/w/d"), epoch=EPOCH),),
)


def test_no_document_is_no_wish_for_nothing_but_an_empty_one_is() -> None:
    agent = Agent(node="n", lease=Lease(session="s"), document=Document(generation=Stamp()))
    agent, effects = handle(agent, THERE, 0)
    assert [each for each in effects if isinstance(each, Drop | Stop)] == []
    agent, effects = handle(agent, Heard(Document(generation=Stamp(1, 9))), 0)
    assert [type(each) for each in effects if isinstance(each, Drop | Stop)] == [Stop]
