import gc

from workers.collector import YOUNG_MAX, spare_the_living


def test_what_is_set_up_is_kept_out_of_collections_and_these_are_rare() -> None:
    usual = gc.get_threshold()
    try:
        spare_the_living()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == (YOUNG_MAX, *usual[1:])
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
